/* The C library of a PAL that the application runs itself: what mbedTLS calls, and the random numbers of casemate-pal.h. */
#include <stddef.h>
#include <stdint.h>

static _Alignas(16) unsigned char pool[4 << 20];
static size_t taken;
static uint32_t state = 1;

uint32_t utpm_rand(void *out, uint32_t size)
{
	for (uint32_t i = 0; i < size; i++) {
		state = state * 1664525u + 1013904223u;
		((unsigned char *)out)[i] = (unsigned char)(state >> 24);
	}
	return 0;
}

void reset_memory(void)
{
	for (size_t i = 0; i < taken; i++)
		pool[i] = 0;
	taken = 0;
}

void *calloc(size_t count, size_t size)
{
	size_t bytes;
	if (__builtin_mul_overflow(count, size, &bytes) || bytes > sizeof pool - 16 - taken)
		return NULL;
	unsigned char *at = pool + taken;
	taken += (bytes + 15) / 16 * 16;
	return at;
}
void free(void *at)
{
	(void)at;
}
void *memset(void *to, int value, size_t size)
{
	for (unsigned char *at = to, *end = at + size; at < end; at++)
		*at = (unsigned char)value;
	return to;
}
void *memmove(void *to, const void *from, size_t size)
{
	unsigned char *a = to;
	const unsigned char *b = from;
	for (size_t i = 0; i < size; i++) {
		size_t at = a < b ? i : size - 1 - i;
		a[at] = b[at];
	}
	return to;
}
void *memcpy(void *to, const void *from, size_t size)
{
	return memmove(to, from, size);
}
int memcmp(const void *a, const void *b, size_t size)
{
	const unsigned char *left = a, *right = b;
	for (size_t i = 0; i < size; i++)
		if (left[i] != right[i])
			return left[i] - right[i];
	return 0;
}
size_t strlen(const char *text)
{
	const char *end = text;
	while (*end)
		end++;
	return (size_t)(end - text);
}
int strcmp(const char *a, const char *b)
{
	for (; *a && *a == *b; a++)
		b++;
	return (unsigned char)*a - (unsigned char)*b;
}
void *__memcpy_chk(void *to, const void *from, size_t size, size_t room)
{
	return size <= room ? memcpy(to, from, size) : NULL;
}
void *__memset_chk(void *to, int value, size_t size, size_t room)
{
	return size <= room ? memset(to, value, size) : NULL;
}
_Noreturn void __stack_chk_fail(void)
{
	__builtin_trap();
}

/* What self-tests and unused functions of the library would call. */
#define NEVER_CALLED(name)                                                                                                     \
	_Noreturn void never_##name(void) __asm__(#name);                                                                      \
	_Noreturn void never_##name(void)                                                                                      \
	{                                                                                                                      \
		__builtin_trap();                                                                                              \
	}
NEVER_CALLED(fclose)
NEVER_CALLED(ferror)
NEVER_CALLED(fgets)
NEVER_CALLED(fopen)
NEVER_CALLED(fread)
NEVER_CALLED(fseek)
NEVER_CALLED(ftell)
NEVER_CALLED(fwrite)
NEVER_CALLED(gmtime_r)
NEVER_CALLED(printf)
NEVER_CALLED(pthread_mutex_destroy)
NEVER_CALLED(pthread_mutex_init)
NEVER_CALLED(pthread_mutex_lock)
NEVER_CALLED(pthread_mutex_unlock)
NEVER_CALLED(putchar)
NEVER_CALLED(puts)
NEVER_CALLED(setbuf)
NEVER_CALLED(snprintf)
NEVER_CALLED(time)
NEVER_CALLED(__printf_chk)
NEVER_CALLED(__snprintf_chk)
