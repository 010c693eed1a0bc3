/* What compilers put in place of functions whose room they know, and where a stack was written over: libraries are compiled so. */
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void __chk_fail(void) __attribute__((noreturn));
void __chk_fail(void)
{
	abort();
}

void __stack_chk_fail(void) __attribute__((noreturn));
void __stack_chk_fail(void)
{
	abort();
}

static void check(size_t size, size_t room)
{
	if (size > room)
		__chk_fail();
}

void *__memcpy_chk(void *restrict to, const void *restrict from, size_t size, size_t room);
void *__memcpy_chk(void *restrict to, const void *restrict from, size_t size, size_t room)
{
	check(size, room);
	return memcpy(to, from, size);
}

void *__memmove_chk(void *to, const void *from, size_t size, size_t room);
void *__memmove_chk(void *to, const void *from, size_t size, size_t room)
{
	check(size, room);
	return memmove(to, from, size);
}

void *__memset_chk(void *to, int value, size_t size, size_t room);
void *__memset_chk(void *to, int value, size_t size, size_t room)
{
	check(size, room);
	return memset(to, value, size);
}

void __explicit_bzero_chk(void *to, size_t size, size_t room);
void __explicit_bzero_chk(void *to, size_t size, size_t room)
{
	check(size, room);
	explicit_bzero(to, size);
}

char *__strcpy_chk(char *restrict to, const char *restrict from, size_t room);
char *__strcpy_chk(char *restrict to, const char *restrict from, size_t room)
{
	check(strlen(from) + 1, room);
	return strcpy(to, from);
}

char *__strncpy_chk(char *restrict to, const char *restrict from, size_t size, size_t room);
char *__strncpy_chk(char *restrict to, const char *restrict from, size_t size, size_t room)
{
	check(size, room);
	return strncpy(to, from, size);
}

char *__strcat_chk(char *restrict to, const char *restrict from, size_t room);
char *__strcat_chk(char *restrict to, const char *restrict from, size_t room)
{
	check(strlen(to) + strlen(from) + 1, room);
	return strcat(to, from);
}

int __vsnprintf_chk(char *restrict to, size_t size, int flag, size_t room, const char *restrict format, va_list arguments);
int __vsnprintf_chk(char *restrict to, size_t size, int flag, size_t room, const char *restrict format, va_list arguments)
{
	(void)flag;
	check(size, room);
	return vsnprintf(to, size, format, arguments);
}

int __snprintf_chk(char *restrict to, size_t size, int flag, size_t room, const char *restrict format, ...);
int __snprintf_chk(char *restrict to, size_t size, int flag, size_t room, const char *restrict format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	const int count = __vsnprintf_chk(to, size, flag, room, format, arguments);
	va_end(arguments);
	return count;
}

int __sprintf_chk(char *restrict to, int flag, size_t room, const char *restrict format, ...);
int __sprintf_chk(char *restrict to, int flag, size_t room, const char *restrict format, ...)
{
	va_list arguments;
	(void)flag;
	va_start(arguments, format);
	const int count = vsnprintf(to, room, format, arguments);
	va_end(arguments);
	check((size_t)count + 1, room);
	return count;
}

int __printf_chk(int flag, const char *restrict format, ...);
int __printf_chk(int flag, const char *restrict format, ...)
{
	va_list arguments;
	(void)flag;
	va_start(arguments, format);
	const int count = vprintf(format, arguments);
	va_end(arguments);
	return count;
}

int __fprintf_chk(FILE *restrict file, int flag, const char *restrict format, ...);
int __fprintf_chk(FILE *restrict file, int flag, const char *restrict format, ...)
{
	va_list arguments;
	(void)flag;
	va_start(arguments, format);
	const int count = vfprintf(file, format, arguments);
	va_end(arguments);
	return count;
}
