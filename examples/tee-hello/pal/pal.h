/* The PAL's command, and what its objects have of each other. */
#ifndef PAL_H
#define PAL_H

#include <tee-sdk/tzmarshal.h>

typedef enum {
	PAL_HELLO,
} PAL_CMD;

void hellopal(uint32_t uiCommand, tzi_encode_buffer_t *psInBuf, tzi_encode_buffer_t *psOutBuf, tz_return_t *puiRv);

/* How often the PAL was called, and in how many microseconds altogether: words.c. */
struct visits {
	unsigned int count;
	double microseconds;
};
struct visits count_visit(void);

/* The words of a text in alphabetical order, in memory of the heap; the caller frees it. NULL where there is none. */
char *sort_words(const char *text);

#endif
