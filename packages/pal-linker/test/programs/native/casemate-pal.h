/* The services where there is no isolate, for PALs that the application runs itself: what keys.c uses of them. */
#ifndef CASEMATE_PAL_H
#define CASEMATE_PAL_H

#include <stdint.h>

struct pal_buffer {
	uint32_t return_value, size, offset, size_used;
	unsigned char data[];
};

enum pal_status { PAL_SUCCESS = 0 };

/* Numbers that look random and are always the same, so that results can be compared. */
uint32_t utpm_rand(void *out, uint32_t size);

#endif
