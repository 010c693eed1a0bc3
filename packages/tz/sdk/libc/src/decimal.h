/* Between the bits of a number with a point and its decimal digits, exactly, in integers alone. */
#ifndef PAL_DECIMAL_H
#define PAL_DECIMAL_H

#include <stdint.h>

/* No double has more digits. */
enum { LARGEST_DECIMAL = 770 };

/* 0.d1d2d3… × 10^point, without zeros at either end; no digit at all for zero, whose point is then 1. */
struct pal_decimal {
	int count, point;
	char digits[LARGEST_DECIMAL + 2];
};

/* The digits of mantissa × 2^exponent. */
void __pal_decimal_of(uint64_t mantissa, int exponent, struct pal_decimal *decimal);
/* Rounds to `count` digits, which may be none or less; halves go to the even digit. */
void __pal_decimal_round(struct pal_decimal *decimal, int count);

/* A binary format: bits of the mantissa, the hidden one included, and the exponent of the smallest normal number. */
struct pal_format {
	int mantissa_bits, smallest_exponent, largest_exponent;
};
/* The nearest number's bits, without the sign. `range` is set where it is infinite, or tiny and not exact. */
uint64_t __pal_binary_of(const struct pal_decimal *decimal, const struct pal_format *format, int *range);
/* The same for mantissa × 2^exponent, with `more` where there were bits below. */
uint64_t __pal_binary_round(uint64_t mantissa, int exponent, int more, const struct pal_format *format, int *range);

/* The bits of the double that is nearest to a quadruple (binary128), its lower word first. */
uint64_t __pal_narrow(const uint64_t words[2]);

#endif
