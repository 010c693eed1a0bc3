/* Traps and memory functions for C of wasm2c in a PAL. */
#include <stdarg.h>
#include <string.h>

#include "wasm-rt.h"

/* In rax at an illegal instruction, before the number of the trap: `wasm`. The engine kvm tells these traps apart by it. */
#define TRAP_MARK 0x7761736d00000000ull

void wasm_rt_trap(wasm_rt_trap_t trap)
{
	uint64_t mark = TRAP_MARK | trap;
	if (trap == WASM_RT_TRAP_OOB)
		__asm__ volatile("movb 16, %%cl" ::"a"(mark) : "rcx");
	if (trap == WASM_RT_TRAP_DIV_BY_ZERO || trap == WASM_RT_TRAP_INT_OVERFLOW)
		__asm__ volatile("divl %0" ::"r"(0), "a"(0), "d"(1));
	for (;;)
		__asm__ volatile("ud2" ::"a"(mark));
}

/* The string instructions are as fast as anything on processors of the last ten years, and cannot become calls of themselves. */
void *memcpy(void *restrict to, const void *restrict from, size_t size)
{
	void *result = to;
	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size)::"memory");
	return result;
}

void *memmove(void *to, const void *from, size_t size)
{
	if ((uintptr_t)to - (uintptr_t)from >= size)
		return memcpy(to, from, size);
	unsigned char *end = (unsigned char *)to + size;
	const unsigned char *source = (const unsigned char *)from + size;
	/* Forwards it would overwrite what it has yet to read. */
	while (size >= 8) {
		uint64_t word;
		end -= 8, source -= 8, size -= 8;
		__builtin_memcpy(&word, source, 8);
		__builtin_memcpy(end, &word, 8);
	}
	while (size--) {
		*--end = *--source;
		__asm__ volatile("" ::: "memory");
	}
	return to;
}

void *memset(void *to, int value, size_t size)
{
	void *at = to;
	__asm__ volatile("rep stosb" : "+D"(at), "+c"(size) : "a"(value) : "memory");
	return to;
}

int memcmp(const void *a, const void *b, size_t size)
{
	const unsigned char *left = a, *right = b;
	for (size_t i = 0; i < size; i++)
		if (left[i] != right[i])
			return left[i] < right[i] ? -1 : 1;
	return 0;
}

/* What gcc calls for the builtin where the processor need not have the instruction; libgcc has a table for it. */
int __popcountdi2(uint64_t value)
{
	value -= value >> 1 & 0x5555555555555555;
	value = (value & 0x3333333333333333) + (value >> 2 & 0x3333333333333333);
	value = (value + (value >> 4)) & 0x0f0f0f0f0f0f0f0f;
	return (int)(value * 0x0101010101010101 >> 56);
}

int __popcountsi2(uint32_t value)
{
	return __popcountdi2(value);
}

#ifdef CASEMATE_TYPE_NUMBERS
/* Signatures one behind the other: two counts and then types, a byte each. A module that has more of them traps. */
static unsigned char signatures[65536];

static uint32_t lengthOf(const unsigned char *signature)
{
	return 4u + signature[0] + 256u * signature[1] + signature[2] + 256u * signature[3];
}

uint32_t wasm_rt_register_func_type(uint32_t parameters, uint32_t results, ...)
{
	unsigned char wanted[4 + 2048] = {parameters & 255, parameters >> 8, results & 255, results >> 8};
	uint32_t length = 4 + parameters + results, number = 1;
	va_list types;
	if (length > sizeof wanted)
		wasm_rt_trap(WASM_RT_TRAP_EXHAUSTION);
	va_start(types, results);
	for (uint32_t i = 4; i < length; i++)
		wanted[i] = (unsigned char)va_arg(types, wasm_rt_type_t);
	va_end(types);
	/* A signature of nothing is four zeros like the free space: its number is 0. */
	if (length == 4)
		return 0;
	unsigned char *at = signatures;
	for (; at[0] | at[1] | at[2] | at[3]; at += lengthOf(at), number++)
		if (lengthOf(at) == length && memcmp(at, wanted, length) == 0)
			return number;
	if ((size_t)(signatures + sizeof signatures - at) < length + 4)
		wasm_rt_trap(WASM_RT_TRAP_EXHAUSTION);
	memcpy(at, wanted, length);
	return number;
}
#endif
