/* The service that the conformance suite calls, for the engine kvm; ../probe-service.ts and ../assembly/probe.pal.ts are the same. */
#include <casemate-pal.h>
#include <tee-sdk/tzmarshal.h>

#ifndef TZ_COMMAND_PROPERTIES
#define TZ_COMMAND_PROPERTIES UINT32_C(0xfffffffd)
#endif

/* The compiler makes calls of these by itself; the SDK's libc, which has them, is not what is judged here. */
void *memcpy(void *to, const void *from, size_t size)
{
	__asm__ volatile("rep movsb" : "+D"((void *){to}), "+S"(from), "+c"(size) : : "memory");
	return to;
}

void *memset(void *to, int byte, size_t size)
{
	__asm__ volatile("rep stosb" : "+D"((void *){to}), "+c"(size) : "a"(byte) : "memory");
	return to;
}

static uint32_t echo(tzi_encode_buffer_t *in, tzi_encode_buffer_t *out)
{
	for (;;) {
		uint32_t length;
		void *array;
		switch (TZIDecodeGetType(in)) {
		case TZ_TYPE_UINT32:
			TZIEncodeUint32(out, TZIDecodeUint32(in));
			break;
		case TZ_TYPE_ARRAY:
			array = TZIDecodeArraySpace(in, &length);
			TZIEncodeArray(out, array, length);
			break;
		default:
			/* What is left is no record: asking for it sets the error that `pal` returns. */
			if (in->uiOffset != in->uiSizeUsed)
				TZIDecodeUint32(in);
			return TZ_SUCCESS;
		}
	}
}

static uint32_t open_session(tzi_encode_buffer_t *in, tzi_encode_buffer_t *out)
{
	uint32_t length, flags = TZIDecodeUint32(in);
	TZIDecodeArraySpace(in, &length);
	TZIEncodeUint32(out, flags);
	return length == 4 ? TZ_ERROR_ACCESS_DENIED : echo(in, out);
}

static void property(tzi_encode_buffer_t *out, uint32_t space, uint32_t name, const char *value)
{
	uint32_t length = 0;
	while (value[length] != 0)
		length++;
	TZIEncodeUint32(out, space);
	TZIEncodeUint32(out, name);
	TZIEncodeArray(out, value, length + 1);
}

static uint32_t properties(tzi_encode_buffer_t *out)
{
	property(out, TZ_NAMESPACE_SERVICE, 2, "the probe's vendor");
	property(out, TZ_NAMESPACE_SERVICE, 100, "own");
	property(out, TZ_NAMESPACE_SERVICE, 1, "another name");
	property(out, TZ_NAMESPACE_CONFIG, 1, "hidden");
	property(out, TZ_NAMESPACE_SYSTEM, 0, "hidden");
	property(out, 0x12345678, 1, "standard");
	return TZ_SUCCESS;
}

static uint8_t *lent(tzi_encode_buffer_t *in, uint32_t *length, uint32_t *access)
{
	tzi_memory_record_t record;
	struct pal_memory memory;
	if (!TZIDecodeMemoryRecord(in, &record))
		return NULL;
	if (memory_lent(record.uiIndex, &memory) != PAL_SUCCESS || memory.length != record.uiSize || memory.access != record.uiFlags) {
		in->uiRetVal = TZ_ERROR_DECODE_TYPE;
		return NULL;
	}
	*length = record.uiSize;
	*access = record.uiFlags;
	return (uint8_t *)(uintptr_t)memory.address;
}

static uint32_t lent_read(tzi_encode_buffer_t *in, tzi_encode_buffer_t *out)
{
	uint32_t offset = TZIDecodeUint32(in), wanted = TZIDecodeUint32(in), length, access;
	uint8_t *memory = lent(in, &length, &access);
	if (memory == NULL)
		return TZ_SUCCESS;
	if (!(access & TZ_MEM_SERVICE_RO) || offset > length || wanted > length - offset)
		return TZ_ERROR_ACCESS_DENIED;
	TZIEncodeArray(out, memory + offset, wanted);
	return TZ_SUCCESS;
}

static uint32_t lent_change(tzi_encode_buffer_t *in, bool exclusive)
{
	uint32_t value = TZIDecodeUint32(in), length, access;
	volatile uint8_t *memory = lent(in, &length, &access);
	if (memory == NULL)
		return TZ_SUCCESS;
	for (uint32_t i = 0; i < length; i++)
		memory[i] = (uint8_t)(exclusive ? memory[i] ^ value : value);
	return TZ_SUCCESS;
}

static uint32_t lent_info(tzi_encode_buffer_t *in, tzi_encode_buffer_t *out)
{
	while (TZIDecodeGetType(in) == TZI_TYPE_MEMORY) {
		uint32_t length = 0, access = 0;
		uint8_t *memory = lent(in, &length, &access);
		TZIEncodeUint32(out, length);
		TZIEncodeUint32(out, access);
		TZIEncodeUint32(out, (uint32_t)((uintptr_t)memory % 8));
	}
	return TZ_SUCCESS;
}

static uint32_t handle(uint32_t command, tzi_encode_buffer_t *in, tzi_encode_buffer_t *out)
{
	switch (command) {
	case TZ_COMMAND_OPEN:
		return open_session(in, out);
	case TZ_COMMAND_CLOSE:
		print("closed", 6);
		return TZ_SUCCESS;
	case TZ_COMMAND_PROPERTIES:
		return properties(out);
	case 1:
		return echo(in, out);
	case 2:
		TZIEncodeUint32(out, 77);
		return TZIDecodeUint32(in);
	case 3:
		for (;;)
			__asm__ volatile("");
	case 4:
		__builtin_trap();
	case 5:
		TZIEncodeArraySpace(out, TZIDecodeUint32(in));
		return TZ_SUCCESS;
	case 11:
		return lent_read(in, out);
	case 12:
		return lent_change(in, false);
	case 13:
		return lent_change(in, true);
	case 14:
		return lent_info(in, out);
	default:
		return TZ_ERROR_NOT_IMPLEMENTED;
	}
}

void pal(uint32_t command, tzi_encode_buffer_t *in, tzi_encode_buffer_t *out, tz_return_t *rv)
{
	*rv = handle(command, in, out);
	if (*rv == TZ_SUCCESS)
		*rv = in->uiRetVal;
	if (*rv == TZ_SUCCESS)
		*rv = out->uiRetVal;
}
