/* As much of a C library as mbedTLS wants: memory from a fixed area that is never given back, text functions, and ends. */
#include <stddef.h>
#include <stdint.h>

static unsigned char area[8 * 1024 * 1024] __attribute__((aligned(16)));
static size_t used;

void *memset(void *to, int value, size_t size)
{
	unsigned char *at = to;
	while (size--)
		*at++ = (unsigned char)value;
	return to;
}
void *memcpy(void *to, const void *from, size_t size)
{
	for (size_t i = 0; i < size; i++)
		((unsigned char *)to)[i] = ((const unsigned char *)from)[i];
	return to;
}
void *memmove(void *to, const void *from, size_t size)
{
	unsigned char *a = to;
	const unsigned char *b = from;
	if (a < b)
		return memcpy(to, from, size);
	while (size--)
		a[size] = b[size];
	return to;
}
int memcmp(const void *a, const void *b, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (((const unsigned char *)a)[i] != ((const unsigned char *)b)[i])
			return ((const unsigned char *)a)[i] - ((const unsigned char *)b)[i];
	return 0;
}
void *__memcpy_chk(void *to, const void *from, size_t size, size_t room)
{
	return size <= room ? memcpy(to, from, size) : NULL;
}
void *__memset_chk(void *to, int value, size_t size, size_t room)
{
	return size <= room ? memset(to, value, size) : NULL;
}
void *calloc(size_t count, size_t size)
{
	size_t bytes = (count * size + 15) & ~(size_t)15;
	if ((count && size > sizeof area / count) || bytes > sizeof area - used)
		return NULL;
	used += bytes;
	return area + used - bytes;
}
/* What was given last is given back; all else stays until the area is started anew. */
void free(void *at)
{
	(void)at;
}
void reset_memory(void)
{
	memset(area, 0, used);
	used = 0;
}
size_t strlen(const char *text)
{
	size_t size = 0;
	while (text[size])
		size++;
	return size;
}
int strcmp(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return (unsigned char)*a - (unsigned char)*b;
}
_Noreturn void __stack_chk_fail(void)
{
	__builtin_trap();
}

/* Self-tests print, and the time and threads are asked for by what is never called here. */
#define NOTHING(name)                                                                                                          \
	int name##_(void) __asm__(#name);                                                                                      \
	int name##_(void)                                                                                                      \
	{                                                                                                                      \
		return 0;                                                                                                      \
	}
NOTHING(__printf_chk)
NOTHING(printf)
NOTHING(puts)
NOTHING(putchar)
NOTHING(gmtime_r)
NOTHING(pthread_mutex_lock)
NOTHING(pthread_mutex_unlock)
NOTHING(pthread_mutex_init)
NOTHING(pthread_mutex_destroy)
NOTHING(snprintf)
NOTHING(__snprintf_chk)
NOTHING(time)
NOTHING(fopen)
NOTHING(fclose)
NOTHING(fread)
NOTHING(fwrite)
NOTHING(fgets)
NOTHING(ferror)
NOTHING(fseek)
NOTHING(ftell)
NOTHING(setbuf)
NOTHING(rewind)
NOTHING(feof)
