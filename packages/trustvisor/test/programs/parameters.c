/* A PAL whose entry has parameters of its own. */
#include "casemate-pal.h"

struct point {
	int32_t x, y;
};

/* Sums in a u32 what it gets, moves the point, and says what it got. Ten parameters: some of them are on the stack. */
uint32_t entry(uint32_t a, int32_t b, uint64_t c, const unsigned char *text, struct point *point, uint64_t *wide, uint32_t d, uint32_t *e,
	       unsigned char *out, int64_t f)
{
	if (a == 99)
		__builtin_trap();
	uint32_t sum = a + (uint32_t)b + (uint32_t)c + d + (uint32_t)f;
	for (int i = 0; i < 8; i++)
		out[i] = text ? (unsigned char)(text[i] + 1) : 0;
	if (point) {
		point->x += b;
		point->y -= b;
	}
	*wide = c * 3 + (uint64_t)f;
	*e = sum;
	return sum ^ 0x80000000;
}
