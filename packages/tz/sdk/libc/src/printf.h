/* The formatter beneath printf and its kin. */
#ifndef PAL_PRINTF_H
#define PAL_PRINTF_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

/* Where formatted text goes, in pieces. */
struct pal_sink {
	void (*put)(struct pal_sink *sink, const char *text, size_t size);
};

/* Bytes that were put, or -1 and errno. */
int __pal_format(struct pal_sink *sink, const char *format, va_list list);

#endif
