/* src/system.h in a PAL: TrustVisor's services, and memory that the linker set aside. */
#include <casemate-pal.h>

#include "../system.h"

enum { LARGEST_TEXT = 4096, LARGEST_RANDOM = 4096, ALIGNMENT = 16, WASM_PAGE = 65536 };

_Bool __pal_flushes;

void __pal_print(const char *text, size_t size)
{
	while (size > 0) {
		const uint32_t piece = size > LARGEST_TEXT ? LARGEST_TEXT : (uint32_t)size;
		print(text, piece);
		text += piece;
		size -= piece;
	}
}

int __pal_random(void *out, size_t size)
{
	unsigned char *at = out;
	while (size > 0) {
		const uint32_t piece = size > LARGEST_RANDOM ? LARGEST_RANDOM : (uint32_t)size;
		const uint32_t status = utpm_rand(at, piece);
		if (status != PAL_SUCCESS)
			return (int)status;
		at += piece;
		size -= piece;
	}
	return 0;
}

int __pal_elapsed(uint64_t *epoch, uint64_t *microseconds)
{
	return (int)time_elapsed(epoch, microseconds);
}

_Bool __pal_lent(uint32_t index, struct pal_lent *lent)
{
	struct pal_memory memory;
	if (memory_lent(index, &memory) != PAL_SUCCESS)
		return 0;
	*lent = (struct pal_lent){(void *)(uintptr_t)memory.address, memory.length, memory.access};
	return 1;
}

int __pal_state_read(void *out, size_t *size)
{
	uint32_t length = *size > UINT32_MAX ? UINT32_MAX : (uint32_t)*size;
	const uint32_t status = state_read(out, &length);
	*size = status == PAL_SUCCESS || status == PAL_SHORT_BUFFER ? length : 0;
	return (int)status;
}

int __pal_state_write(const void *state, size_t size)
{
	return size > UINT32_MAX ? PAL_BAD_PARAM : (int)state_write(state, (uint32_t)size);
}

static uintptr_t align_up(uintptr_t address)
{
	return (address + ALIGNMENT - 1) & ~(uintptr_t)(ALIGNMENT - 1);
}

#if defined(__wasm__)
extern unsigned char __heap_base[];

void *__pal_more_memory(size_t bytes)
{
	static uintptr_t used;
	if (!used)
		used = align_up((uintptr_t)__heap_base);
	const uintptr_t end = __builtin_wasm_memory_size(0) * (uintptr_t)WASM_PAGE;
	const uintptr_t at = used;
	if (bytes > UINTPTR_MAX - ALIGNMENT - at)
		return 0;
	const uintptr_t after = align_up(at + bytes);
	if (after > end && __builtin_wasm_memory_grow(0, (after - end + WASM_PAGE - 1) / WASM_PAGE) == (size_t)-1)
		return 0;
	used = after;
	return (void *)at;
}
#else
extern unsigned char __pal_heap_start[], __pal_heap_end[];

void *__pal_more_memory(size_t bytes)
{
	static uintptr_t used;
	if (!used)
		used = align_up((uintptr_t)__pal_heap_start);
	const uintptr_t end = (uintptr_t)__pal_heap_end & ~(uintptr_t)(ALIGNMENT - 1);
	if (used > end || bytes > end - used)
		return 0;
	void *at = (void *)used;
	used = align_up(used + bytes);
	return at;
}
#endif
