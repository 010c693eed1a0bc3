/* The four functions that compilers call in freestanding code too, for PALs without a C library. */
#include <stddef.h>
#include <stdint.h>

#define KEEP_LOOP __asm__ volatile("" ::: "memory") /* else the compiler makes of the loop a call of the function it is in */

void *memcpy(void *restrict to, const void *restrict from, size_t size)
{
	unsigned char *target = to;
	const unsigned char *source = from;
	while (size--) {
		*target++ = *source++;
		KEEP_LOOP;
	}
	return to;
}

void *memmove(void *to, const void *from, size_t size)
{
	unsigned char *target = to;
	const unsigned char *source = from;
	if ((uintptr_t)to - (uintptr_t)from >= size)
		return memcpy(to, from, size);
	while (size--) {
		target[size] = source[size];
		KEEP_LOOP;
	}
	return to;
}

void *memset(void *to, int value, size_t size)
{
	unsigned char *target = to;
	while (size--) {
		*target++ = (unsigned char)value;
		KEEP_LOOP;
	}
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
