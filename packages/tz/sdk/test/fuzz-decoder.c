/*
 * Messages made by a fuzzer, decoded: libFuzzer's target. Whatever comes, the decoder stays inside the message (the address sanitizer
 * knows its exact size), ends, and says one thing:
 *   - what it accepts as a whole is, encoded again, the same bytes: each value has one encoding;
 *   - the first error sticks;
 *   - a format takes what single calls take.
 *
 *   clang -g -O1 -fsanitize=fuzzer,address,undefined -Iinclude test/fuzz-decoder.c src/marshal.c src/format.c src/memory.c -o fuzz
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tee-sdk/tzmarshal.h>

#include "../src/system.h"

#define ASSERT(condition)                                                                                                      \
	do {                                                                                                                   \
		if (!(condition)) {                                                                                            \
			fprintf(stderr, "does not hold: %s\n", #condition);                                                    \
			abort();                                                                                               \
		}                                                                                                              \
	} while (0)

/* Only every other reference was lent, and with what length and access follows from its number. */
bool __pal_lent(uint32_t index, struct pal_lent *lent)
{
	static uint8_t memory[256];
	*lent = (struct pal_lent){memory, index % sizeof memory, index % 3 + 1};
	return index % 2 == 0;
}

/* Reads every byte, so that a sanitizer sees them. */
static uint32_t sum(const uint8_t *data, uint32_t length)
{
	uint32_t result = 0;
	for (uint32_t i = 0; i < length; i++)
		result += data[i];
	return result;
}

static volatile uint32_t used;

/* Takes a record of that type, and puts it into `copy`. */
static void take(tzi_encode_buffer_t *buffer, uint32_t type, tzi_encode_buffer_t *copy)
{
	if (type == TZ_TYPE_ARRAY) {
		uint32_t length;
		const void *data = TZIDecodeArraySpace(buffer, &length);
		ASSERT(data || length == 0);
		ASSERT(!data || (uintptr_t)data % 8 == 0);
		if (data)
			used += sum(data, length);
		if (buffer->uiRetVal == TZ_SUCCESS)
			TZIEncodeArray(copy, data, length);
	} else if (type == TZI_TYPE_MEMORY) {
		tzi_memory_record_t record;
		if (TZIDecodeMemoryRecord(buffer, &record))
			TZIEncodeMemoryRecord(copy, &record);
	} else {
		const uint32_t value = TZIDecodeUint32(buffer);
		if (buffer->uiRetVal == TZ_SUCCESS)
			TZIEncodeUint32(copy, value);
	}
}

static tzi_encode_buffer_t *message_of(const uint8_t *data, size_t size)
{
	tzi_encode_buffer_t *buffer = malloc(size);
	ASSERT(buffer || size == 0);
	if (size > 0)
		memcpy(buffer, data, size);
	return buffer;
}

/* Everything as it comes. */
static void decode_all(const uint8_t *data, size_t size)
{
	tzi_encode_buffer_t *buffer = message_of(data, size);
	if (TZIDecodeBufCheck(buffer, size) == TZ_SUCCESS) {
		const uint32_t bytes = buffer->uiSizeUsed;
		const bool is_good = buffer->uiRetVal == TZ_SUCCESS;
		tzi_encode_buffer_t *copy = malloc(sizeof *copy + bytes);
		ASSERT(copy);
		TZIEncodeBufInit(copy, (uint32_t)sizeof *copy + bytes);
		while (TZIDecodeGetType(buffer) != TZ_TYPE_NONE) {
			const uint32_t before = buffer->uiOffset;
			take(buffer, TZIDecodeGetType(buffer), copy);
			ASSERT(buffer->uiRetVal != TZ_SUCCESS || buffer->uiOffset > before);
			ASSERT(buffer->uiOffset <= bytes);
		}
		if (is_good && buffer->uiRetVal == TZ_SUCCESS && buffer->uiOffset == bytes) {
			ASSERT(copy->uiRetVal == TZ_SUCCESS && copy->uiOffset == bytes);
			ASSERT(bytes == 0 || memcmp(copy->pBuf, data + sizeof *copy, bytes) == 0);
		}
		free(copy);
	}
	free(buffer);
}

/* By calls that the first bytes choose, whether they fit or not. */
static void decode_as_told(const uint8_t *data, size_t size)
{
	uint8_t told[8];
	if (size < sizeof told)
		return;
	memcpy(told, data, sizeof told);
	data += sizeof told, size -= sizeof told;
	tzi_encode_buffer_t *buffer = message_of(data, size), *copy = malloc(sizeof *copy + size);
	ASSERT(copy);
	TZIEncodeBufInit(copy, (uint32_t)(sizeof *copy + size));
	if (TZIDecodeBufCheck(buffer, size) == TZ_SUCCESS)
		for (size_t i = 0; i < sizeof told; i++) {
			const tz_return_t before = buffer->uiRetVal;
			uint32_t length = 7, value = 7, room = told[i] >> 3;
			void *place = &length;
			uint8_t kept[32];
			switch (told[i] & 7) {
			case 0:
			case 1:
			case 2:
				take(buffer, told[i] & 7, copy);
				break;
			case 3: {
				uint32_t flags;
				const uint8_t *memory = TZIDecodeMemoryAccess(buffer, &length, &flags);
				ASSERT(memory || (length == 0 && flags == 0));
				if (memory)
					used += sum(memory, length);
				break;
			}
			case 4:
				TZIDecodeBufF(buffer, "%" TZI_DU32 " %" TZI_DARRSPC, &value, &place, &length);
				ASSERT(before == TZ_SUCCESS || (value == 0 && !place && length == 0));
				if (place)
					used += sum(place, length);
				break;
			case 5:
				TZIDecodeBufF(buffer, "%" TZI_DARR, (char *)kept, &room);
				used += sum(kept, room < sizeof kept && buffer->uiRetVal == TZ_SUCCESS ? room : 0);
				break;
			case 6:
				TZIDecodeBufF(buffer, "%*" TZI_DU32);
				break;
			default:
				TZIDecodeBufF(buffer, "%" TZI_DARRSPC_NOLEN, &place);
			}
			ASSERT(before == TZ_SUCCESS || buffer->uiRetVal == before);
		}
	free(copy);
	free(buffer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	decode_all(data, size);
	decode_as_told(data, size);
	return 0;
}
