/*
 * The codec of sdk/src as a program, for comparison with other implementations.
 *
 * Requests on standard input and answers on standard output: u32 length, then that many bytes. All integers are little-endian.
 * A request is an operation (u32) and
 *   0 decode: the bytes of a message. Answer: values.
 *   1 encode: u32 capacity, values without the error. Answer: the message in decode form, its header first.
 *   2 decode as told: u32 count, as many u32 types (1 integer, 2 array, 3 reference), a message. Answer: values, one for each type.
 * Values: for each u32 kind and u32 word: 0 an integer; 1 an array, its length as word, then the bytes without padding; 2 a
 * reference, its bytes as word, then u32 index, u32 access; 3 the NULL array. At the end u32 0xffffffff and u32 error, TZ_ERROR_*;
 * a message that is none gives no value and TZ_ERROR_COMMUNICATION.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tee-sdk/tzmarshal.h>

enum { KIND_INTEGER, KIND_ARRAY, KIND_REFERENCE, KIND_NULL };
#define KIND_END UINT32_C(0xffffffff)

/* Bytes that grow. */
struct bytes {
	uint8_t *data;
	size_t size, room;
};

static void put(struct bytes *to, const void *data, size_t size)
{
	if (to->room - to->size < size) {
		to->room = 2 * (to->size + size);
		to->data = realloc(to->data, to->room);
		if (!to->data)
			abort();
	}
	if (size > 0)
		memcpy(to->data + to->size, data, size);
	to->size += size;
}

static void put_word(struct bytes *to, uint32_t word)
{
	put(to, &word, sizeof word);
}

static void put_value(struct bytes *to, uint32_t kind, uint32_t word)
{
	put_word(to, kind);
	put_word(to, word);
}

static uint32_t word_at(const uint8_t *at)
{
	uint32_t word;
	memcpy(&word, at, sizeof word);
	return word;
}

static void decode_array(tzi_encode_buffer_t *buffer, struct bytes *answer)
{
	uint32_t length;
	const void *data = TZIDecodeArraySpace(buffer, &length);
	if (!data)
		put_value(answer, KIND_NULL, length);
	else {
		put_value(answer, KIND_ARRAY, length);
		put(answer, data, length);
	}
}

static void decode_reference(tzi_encode_buffer_t *buffer, struct bytes *answer)
{
	tzi_memory_record_t record;
	TZIDecodeMemoryRecord(buffer, &record);
	put_value(answer, KIND_REFERENCE, record.uiSize);
	put_word(answer, record.uiIndex);
	put_word(answer, record.uiFlags);
}

static void decode_as(uint32_t type, tzi_encode_buffer_t *buffer, struct bytes *answer)
{
	if (type == TZ_TYPE_ARRAY)
		decode_array(buffer, answer);
	else if (type == TZI_TYPE_MEMORY)
		decode_reference(buffer, answer);
	else
		put_value(answer, KIND_INTEGER, TZIDecodeUint32(buffer));
}

/* Whatever comes, until the end or an error. What failed in the middle is not answered. */
static void decode_all(tzi_encode_buffer_t *buffer, struct bytes *answer)
{
	while (buffer->uiRetVal == TZ_SUCCESS && buffer->uiOffset < buffer->uiSizeUsed) {
		const size_t before = answer->size;
		decode_as(TZIDecodeGetType(buffer), buffer, answer);
		if (buffer->uiRetVal != TZ_SUCCESS)
			answer->size = before;
	}
}

/* The message in memory of exactly its size, so that a sanitizer sees every step beyond it. */
static void decode(const uint8_t *message, size_t size, const uint8_t *types, uint32_t count, struct bytes *answer)
{
	tzi_encode_buffer_t *buffer = malloc(size);
	if (!buffer && size > 0)
		abort();
	if (size > 0)
		memcpy(buffer, message, size);
	uint32_t error = TZIDecodeBufCheck(buffer, size);
	if (error == TZ_SUCCESS) {
		if (types)
			for (uint32_t i = 0; i < count; i++)
				decode_as(word_at(types + 4 * i), buffer, answer);
		else
			decode_all(buffer, answer);
		error = TZIDecodeGetError(buffer);
	}
	put_value(answer, KIND_END, error);
	free(buffer);
}

static void encode(const uint8_t *values, size_t size, uint32_t capacity, struct bytes *answer)
{
	tzi_encode_buffer_t *buffer = malloc(sizeof *buffer + capacity);
	if (!buffer)
		abort();
	TZIEncodeBufInit(buffer, (uint32_t)sizeof *buffer + capacity);
	for (const uint8_t *at = values, *end = values + size; at < end;) {
		const uint32_t kind = word_at(at), word = word_at(at + 4);
		at += 8;
		if (kind == KIND_INTEGER)
			TZIEncodeUint32(buffer, word);
		if (kind == KIND_NULL)
			TZIEncodeArray(buffer, NULL, 0);
		if (kind == KIND_ARRAY) {
			TZIEncodeArray(buffer, at, word);
			at += word;
		}
		if (kind == KIND_REFERENCE) {
			TZIEncodeMemoryRecord(buffer, &(tzi_memory_record_t){word, word_at(at), word_at(at + 4)});
			at += 8;
		}
	}
	TZIEncodeToDecode(buffer);
	put(answer, buffer, sizeof *buffer + buffer->uiSizeUsed);
	free(buffer);
}

static void answer_request(const uint8_t *request, size_t size, struct bytes *answer)
{
	const uint32_t operation = word_at(request);
	if (operation == 0)
		decode(request + 4, size - 4, NULL, 0, answer);
	if (operation == 1)
		encode(request + 8, size - 8, word_at(request + 4), answer);
	if (operation == 2) {
		const uint32_t count = word_at(request + 4);
		decode(request + 8 + 4 * count, size - 8 - 4 * count, request + 8, count, answer);
	}
}

int main(void)
{
	uint32_t size;
	struct bytes answer = {0};
	while (fread(&size, sizeof size, 1, stdin) == 1) {
		uint8_t *request = malloc(size);
		if (!request || fread(request, 1, size, stdin) != size)
			return 1;
		answer.size = 0;
		answer_request(request, size, &answer);
		free(request);
		const uint32_t length = (uint32_t)answer.size;
		fwrite(&length, sizeof length, 1, stdout);
		fwrite(answer.data, 1, answer.size, stdout);
		fflush(stdout);
	}
	free(answer.data);
	return 0;
}
