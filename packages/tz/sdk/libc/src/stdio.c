/* Standard output and error: lines for the developer; C11 7.21. What start code flushes at the end is kept until then. */
#include <stdio.h>

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../src/system.h"
#include "printf.h"

struct __pal_file {
	int failed;
	size_t used;
	char text[BUFSIZ];
};

static struct __pal_file files[3];
FILE *const stdin = &files[0];
FILE *const stdout = &files[1];
FILE *const stderr = &files[2];

static void flush(FILE *file)
{
	const size_t used = file->used;
	file->used = 0;
	if (used > 0)
		__pal_print(file->text, used);
}

int fflush(FILE *file)
{
	if (file)
		flush(file);
	else
		flush(stdout), flush(stderr);
	return 0;
}

static int is_for_output(FILE *file)
{
	if (file != stdin)
		return 1;
	file->failed = 1;
	errno = EBADF;
	return 0;
}

/* Into the line; what is full, and what has a line's end, goes out. */
static void put(FILE *file, const char *text, size_t size)
{
	const char *end = memrchr(text, '\n', size);
	while (size > 0) {
		const size_t room = sizeof file->text - file->used, piece = size < room ? size : room;
		memcpy(file->text + file->used, text, piece);
		file->used += piece, text += piece, size -= piece;
		if (file->used == sizeof file->text)
			flush(file);
	}
	if (end && file->used > 0)
		flush(file);
}

/* What is not flushed at the end of the call must go now, and errors always. */
static void settle(FILE *file)
{
	if (file != stdout || !__pal_flushes)
		flush(file);
}

struct file_sink {
	struct pal_sink sink;
	FILE *file;
};

static void put_in_file(struct pal_sink *sink, const char *text, size_t size)
{
	put(((struct file_sink *)sink)->file, text, size);
}

int vfprintf(FILE *restrict file, const char *restrict format, va_list arguments)
{
	struct file_sink sink = {{put_in_file}, file};
	if (!is_for_output(file))
		return -1;
	const int count = __pal_format(&sink.sink, format, arguments);
	settle(file);
	return count;
}

int vprintf(const char *restrict format, va_list arguments)
{
	return vfprintf(stdout, format, arguments);
}

struct text_sink {
	struct pal_sink sink;
	char *at;
	size_t room;
};

static void put_in_text(struct pal_sink *sink, const char *text, size_t size)
{
	struct text_sink *to = (struct text_sink *)sink;
	const size_t piece = size < to->room ? size : to->room;
	memcpy(to->at, text, piece);
	to->at += piece;
	to->room -= piece;
}

int vsnprintf(char *restrict to, size_t room, const char *restrict format, va_list arguments)
{
	char none;
	struct text_sink sink = {{put_in_text}, room > 0 ? to : &none, room > 0 ? room - 1 : 0};
	const int count = __pal_format(&sink.sink, format, arguments);
	*sink.at = 0;
	return count;
}

int vsprintf(char *restrict to, const char *restrict format, va_list arguments)
{
	return vsnprintf(to, INT_MAX, format, arguments);
}

int vasprintf(char **to, const char *restrict format, va_list arguments)
{
	va_list again;
	va_copy(again, arguments);
	const int count = vsnprintf(NULL, 0, format, again);
	va_end(again);
	*to = count < 0 ? NULL : malloc((size_t)count + 1);
	return *to ? vsnprintf(*to, (size_t)count + 1, format, arguments) : -1;
}

int printf(const char *restrict format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	const int count = vfprintf(stdout, format, arguments);
	va_end(arguments);
	return count;
}

int fprintf(FILE *restrict file, const char *restrict format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	const int count = vfprintf(file, format, arguments);
	va_end(arguments);
	return count;
}

int sprintf(char *restrict to, const char *restrict format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	const int count = vsprintf(to, format, arguments);
	va_end(arguments);
	return count;
}

int snprintf(char *restrict to, size_t room, const char *restrict format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	const int count = vsnprintf(to, room, format, arguments);
	va_end(arguments);
	return count;
}

int asprintf(char **to, const char *restrict format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	const int count = vasprintf(to, format, arguments);
	va_end(arguments);
	return count;
}

size_t fwrite(const void *restrict data, size_t size, size_t count, FILE *restrict file)
{
	size_t bytes;
	if (!is_for_output(file) || size == 0 || __builtin_mul_overflow(size, count, &bytes))
		return 0;
	put(file, data, bytes);
	settle(file);
	return count;
}

int fputs(const char *restrict text, FILE *restrict file)
{
	const size_t size = strlen(text);
	return fwrite(text, 1, size, file) == size ? 0 : EOF;
}

int puts(const char *text)
{
	put(stdout, text, strlen(text));
	put(stdout, "\n", 1);
	return 0;
}

int fputc(int c, FILE *file)
{
	const char text = (char)c;
	return fwrite(&text, 1, 1, file) == 1 ? (unsigned char)c : EOF;
}

int putc(int c, FILE *file)
{
	return fputc(c, file);
}

int putchar(int c)
{
	return fputc(c, stdout);
}

void perror(const char *text)
{
	const char *problem = strerror(errno);
	if (text && *text)
		fprintf(stderr, "%s: %s\n", text, problem);
	else
		fprintf(stderr, "%s\n", problem);
}

ssize_t write(int file, const void *data, size_t size)
{
	if (file != STDOUT_FILENO && file != STDERR_FILENO) {
		errno = EBADF;
		return -1;
	}
	flush(&files[file]);
	__pal_print(data, size);
	return (ssize_t)size;
}

/* A line is the unit whatever is asked for. */
int setvbuf(FILE *restrict file, char *restrict buffer, int mode, size_t size)
{
	(void)file, (void)buffer, (void)size;
	return mode == _IOFBF || mode == _IOLBF || mode == _IONBF ? 0 : -1;
}

void setbuf(FILE *restrict file, char *restrict buffer)
{
	(void)file, (void)buffer;
}

int ferror(FILE *file)
{
	return file->failed;
}

/* Standard input is at its end. */
int feof(FILE *file)
{
	return file == stdin;
}

void clearerr(FILE *file)
{
	file->failed = 0;
}

int fileno(FILE *file)
{
	return (int)(file - files);
}
