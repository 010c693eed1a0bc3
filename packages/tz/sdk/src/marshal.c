/* Records one by one: WIRE.md of @casemate/tz, "Records". Lengths are compared with what is left, never added to an offset first. */
#include <string.h>

#include <tee-sdk/tzmarshal.h>

#define MAX_CAPACITY (16u * 1024 * 1024)
#define SMALLEST_RECORD 8u
#define MEMORY_RECORD 16u

enum { TAG_UINT32, TAG_ARRAY, TAG_MEMORY, TAG_NULL_ARRAY };

static uint32_t load(const uint8_t *at)
{
	return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static void store(uint8_t *at, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		at[i] = (uint8_t)(value >> 8 * i);
}

/* Bytes from `offset` to the next multiple of `alignment`, a power of two. */
static uint32_t padding(uint32_t offset, uint32_t alignment)
{
	return -offset & (alignment - 1);
}

static void *fail(tzi_encode_buffer_t *buffer, tz_return_t error)
{
	buffer->uiRetVal = error;
	return NULL;
}

void TZIEncodeBufInit(tzi_encode_buffer_t *psBuffer, uint32_t uiLength)
{
	const uint32_t header = sizeof *psBuffer;
	psBuffer->uiRetVal = uiLength < header ? TZ_ERROR_ENCODE_MEMORY : TZ_SUCCESS;
	psBuffer->uiSize = uiLength < header ? 0 : uiLength - header;
	psBuffer->uiOffset = psBuffer->uiSizeUsed = 0;
}

void TZIEncodeBufReInit(tzi_encode_buffer_t *psBuffer)
{
	psBuffer->uiRetVal = TZ_SUCCESS;
	psBuffer->uiOffset = psBuffer->uiSizeUsed = 0;
}

void TZIEncodeToDecode(tzi_encode_buffer_t *psBuffer)
{
	psBuffer->uiSizeUsed = psBuffer->uiOffset;
	psBuffer->uiOffset = 0;
}

tz_return_t TZIDecodeBufCheck(const tzi_encode_buffer_t *psBuffer, size_t uiBytes)
{
	if (uiBytes < sizeof *psBuffer || psBuffer->uiSize > MAX_CAPACITY || psBuffer->uiSizeUsed > psBuffer->uiSize)
		return TZ_ERROR_COMMUNICATION;
	if (psBuffer->uiOffset != 0 || psBuffer->uiSizeUsed > uiBytes - sizeof *psBuffer)
		return TZ_ERROR_COMMUNICATION;
	return TZ_SUCCESS;
}

/* Takes `bytes` zero bytes off the room, or fails. */
static uint8_t *reserve(tzi_encode_buffer_t *buffer, uint64_t bytes)
{
	if (buffer->uiRetVal != TZ_SUCCESS)
		return NULL;
	if (buffer->uiOffset > buffer->uiSize || bytes > buffer->uiSize - buffer->uiOffset)
		return fail(buffer, TZ_ERROR_ENCODE_MEMORY);
	uint8_t *at = buffer->pBuf + buffer->uiOffset;
	memset(at, 0, (size_t)bytes);
	buffer->uiOffset += (uint32_t)bytes;
	return at;
}

static void put_words(tzi_encode_buffer_t *buffer, uint32_t tag, uint32_t word)
{
	uint8_t *at = reserve(buffer, SMALLEST_RECORD);
	if (!at)
		return;
	store(at, tag);
	store(at + 4, word);
}

void TZIEncodeUint32(tzi_encode_buffer_t *psBuffer, uint32_t uiData)
{
	put_words(psBuffer, TAG_UINT32, uiData);
}

void *TZIEncodeArraySpace(tzi_encode_buffer_t *psBuffer, uint32_t uiLength)
{
	const uint32_t front = SMALLEST_RECORD + padding(psBuffer->uiOffset, 8);
	/* The data starts at a multiple of 8, so its length alone says what goes behind it. */
	uint8_t *at = reserve(psBuffer, (uint64_t)front + uiLength + padding(uiLength, 4));
	if (!at)
		return NULL;
	store(at, TAG_ARRAY);
	store(at + 4, uiLength);
	return at + front;
}

void TZIEncodeArray(tzi_encode_buffer_t *psBuffer, void const *pkArray, uint32_t uiLength)
{
	if (pkArray) {
		void *space = TZIEncodeArraySpace(psBuffer, uiLength);
		if (space && uiLength > 0)
			memcpy(space, pkArray, uiLength);
		return;
	}
	if (uiLength == 0)
		put_words(psBuffer, TAG_NULL_ARRAY, 0);
	else if (psBuffer->uiRetVal == TZ_SUCCESS)
		fail(psBuffer, TZ_ERROR_UNDEFINED);
}

void TZIEncodeMemoryRecord(tzi_encode_buffer_t *psBuffer, const tzi_memory_record_t *psRecord)
{
	uint8_t *at = reserve(psBuffer, MEMORY_RECORD);
	if (!at)
		return;
	store(at, TAG_MEMORY);
	store(at + 4, psRecord->uiSize);
	store(at + 8, psRecord->uiIndex);
	store(at + 12, psRecord->uiFlags);
}

/* Bytes that are left to decode; nothing where the header contradicts itself. */
static uint32_t left(const tzi_encode_buffer_t *buffer)
{
	if (buffer->uiSizeUsed > buffer->uiSize || buffer->uiOffset > buffer->uiSizeUsed)
		return 0;
	return buffer->uiSizeUsed - buffer->uiOffset;
}

uint32_t TZIDecodeGetType(const tzi_encode_buffer_t *psBuffer)
{
	if (psBuffer->uiRetVal != TZ_SUCCESS || left(psBuffer) < SMALLEST_RECORD)
		return TZ_TYPE_NONE;
	switch (load(psBuffer->pBuf + psBuffer->uiOffset)) {
	case TAG_UINT32:
		return TZ_TYPE_UINT32;
	case TAG_ARRAY:
	case TAG_NULL_ARRAY:
		return TZ_TYPE_ARRAY;
	case TAG_MEMORY:
		return TZI_TYPE_MEMORY;
	default:
		return TZ_TYPE_NONE;
	}
}

/* The next record, if it is of that type; its first 8 bytes are there. */
static uint8_t *expect(tzi_encode_buffer_t *buffer, uint32_t type)
{
	if (buffer->uiRetVal != TZ_SUCCESS)
		return NULL;
	if (left(buffer) < SMALLEST_RECORD)
		return fail(buffer, TZ_ERROR_DECODE_NO_DATA);
	if (TZIDecodeGetType(buffer) != type)
		return fail(buffer, TZ_ERROR_DECODE_TYPE);
	return buffer->pBuf + buffer->uiOffset;
}

uint32_t TZIDecodeUint32(tzi_encode_buffer_t *psBuffer)
{
	const uint8_t *at = expect(psBuffer, TZ_TYPE_UINT32);
	if (!at)
		return 0;
	psBuffer->uiOffset += SMALLEST_RECORD;
	return load(at + 4);
}

static bool is_zero(const uint8_t *at, uint32_t bytes)
{
	while (bytes-- > 0)
		if (at[bytes] != 0)
			return false;
	return true;
}

static void *decode_null(tzi_encode_buffer_t *buffer, uint32_t word)
{
	if (word != 0)
		return fail(buffer, TZ_ERROR_DECODE_TYPE);
	buffer->uiOffset += SMALLEST_RECORD;
	return NULL;
}

/* The data of an array, once it is seen to be whole and its padding to be zero. */
static void *decode_array(tzi_encode_buffer_t *buffer, uint8_t *at, uint32_t length)
{
	const uint32_t before = padding(buffer->uiOffset, 8);
	const uint32_t after = padding(length, 4);
	uint32_t room = left(buffer) - SMALLEST_RECORD;
	if (before > room)
		return fail(buffer, TZ_ERROR_DECODE_NO_DATA);
	if (!is_zero(at + SMALLEST_RECORD, before))
		return fail(buffer, TZ_ERROR_DECODE_TYPE);
	room -= before;
	if (length > room || after > room - length)
		return fail(buffer, TZ_ERROR_DECODE_NO_DATA);
	uint8_t *data = at + SMALLEST_RECORD + before;
	if (!is_zero(data + length, after))
		return fail(buffer, TZ_ERROR_DECODE_TYPE);
	buffer->uiOffset += SMALLEST_RECORD + before + length + after;
	return data;
}

void *TZIDecodeArraySpace(tzi_encode_buffer_t *psBuffer, uint32_t *puiLength)
{
	*puiLength = 0;
	uint8_t *at = expect(psBuffer, TZ_TYPE_ARRAY);
	if (!at)
		return NULL;
	const uint32_t length = load(at + 4);
	if (load(at) == TAG_NULL_ARRAY)
		return decode_null(psBuffer, length);
	void *data = decode_array(psBuffer, at, length);
	if (data)
		*puiLength = length;
	return data;
}

bool TZIDecodeMemoryRecord(tzi_encode_buffer_t *psBuffer, tzi_memory_record_t *psRecord)
{
	*psRecord = (tzi_memory_record_t){0};
	const uint8_t *at = expect(psBuffer, TZI_TYPE_MEMORY);
	if (at && left(psBuffer) < MEMORY_RECORD)
		at = fail(psBuffer, TZ_ERROR_DECODE_NO_DATA);
	if (!at)
		return false;
	const tzi_memory_record_t record = {load(at + 4), load(at + 8), load(at + 12)};
	if (record.uiFlags == 0 || (record.uiFlags & ~TZ_MEM_SERVICE_RW) != 0)
		return fail(psBuffer, TZ_ERROR_DECODE_TYPE) != NULL;
	psBuffer->uiOffset += MEMORY_RECORD;
	*psRecord = record;
	return true;
}

tz_return_t TZIDecodeGetError(tzi_encode_buffer_t *psBuffer)
{
	return psBuffer->uiRetVal;
}
