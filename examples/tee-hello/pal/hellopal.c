/* Says hello by the C library's own functions. What is printed reaches whoever runs the PAL. */
#include "pal.h"

#include <stdio.h>
#include <stdlib.h>

void hellopal(uint32_t uiCommand, tzi_encode_buffer_t *psInBuf, tzi_encode_buffer_t *psOutBuf, tz_return_t *puiRv)
{
	uint32_t length;
	const char *text;
	(void)psOutBuf;
	if (uiCommand != PAL_HELLO) {
		*puiRv = TZ_ERROR_NOT_IMPLEMENTED;
		return;
	}
	const struct visits visits = count_visit();
	printf("hello from the PAL, call %u, after %.1f ms\n", visits.count, visits.microseconds / 1000);
	/* The text may be left out. */
	if (TZIDecodeGetType(psInBuf) == TZ_TYPE_NONE) {
		*puiRv = TZ_SUCCESS;
		return;
	}
	if ((*puiRv = TZIDecodeBufF(psInBuf, "%" TZI_DARRSPC, &text, &length)))
		return;
	if (!text || length == 0 || text[length - 1] != '\0') {
		fprintf(stderr, "expected text with its zero, got %u bytes\n", length);
		*puiRv = TZ_ERROR_ENCODE_FORMAT;
		return;
	}
	char *sorted = sort_words(text);
	if (!sorted) {
		perror("sort words");
		*puiRv = TZ_ERROR_MEMORY;
		return;
	}
	printf("%-8s|%8s|\n", "sorted", sorted);
	free(sorted);
}
