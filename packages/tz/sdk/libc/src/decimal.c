/* Exact conversion of floating point in integers: decimal.h. */
#include "decimal.h"

#include <stddef.h>
#include <string.h>

#define BILLION 1000000000u

/* A natural number, in words of base 2^32 or 10^9, the lowest first. */
enum { WORDS = 128 };
struct natural {
	int count;
	uint32_t words[WORDS];
};

static void multiply(struct natural *n, uint32_t factor, uint32_t add, uint64_t base)
{
	uint64_t carry = add;
	for (int i = 0; i < n->count; i++) {
		carry += (uint64_t)n->words[i] * factor;
		n->words[i] = (uint32_t)(carry % base);
		carry /= base;
	}
	for (; carry > 0; carry /= base)
		n->words[n->count++] = (uint32_t)(carry % base);
}

/* Times factor^power, of which `largest_step` at a time fit into a word. */
static void multiply_power(struct natural *n, uint32_t factor, int power, int largest_step, uint64_t base)
{
	while (power > 0) {
		const int step = power < largest_step ? power : largest_step;
		uint32_t product = 1;
		for (int i = 0; i < step; i++)
			product *= factor;
		multiply(n, product, 0, base);
		power -= step;
	}
}

static void trim(struct pal_decimal *decimal)
{
	while (decimal->count > 0 && decimal->digits[decimal->count - 1] == '0')
		decimal->count--;
	if (decimal->count == 0)
		decimal->point = 1;
}

void __pal_decimal_of(uint64_t mantissa, int exponent, struct pal_decimal *decimal)
{
	struct natural n = {0};
	multiply(&n, 0, 0, BILLION);
	for (; mantissa > 0; mantissa /= BILLION)
		n.words[n.count++] = (uint32_t)(mantissa % BILLION);
	/* Times 2^exponent; where that is below zero, times 5^-exponent, and as many digits behind the point. */
	multiply_power(&n, exponent > 0 ? 2 : 5, exponent > 0 ? exponent : -exponent, exponent > 0 ? 29 : 12, BILLION);
	decimal->count = 0;
	for (int i = n.count - 1; i >= 0; i--)
		for (uint32_t unit = BILLION / 10; unit > 0; unit /= 10) {
			const char digit = (char)('0' + n.words[i] / unit % 10);
			if (decimal->count > 0 || digit != '0')
				decimal->digits[decimal->count++] = digit;
		}
	decimal->point = decimal->count - (exponent < 0 ? -exponent : 0);
	trim(decimal);
}

static int rounds_up(const struct pal_decimal *decimal, int count)
{
	if (count < 0 || decimal->digits[count] < '5')
		return 0;
	if (decimal->digits[count] > '5' || decimal->count > count + 1)
		return 1;
	return count > 0 && (decimal->digits[count - 1] & 1) != 0;
}

void __pal_decimal_round(struct pal_decimal *decimal, int count)
{
	if (count >= decimal->count)
		return;
	const int up = rounds_up(decimal, count);
	decimal->count = count > 0 ? count : 0;
	if (up) {
		while (decimal->count > 0 && decimal->digits[decimal->count - 1] == '9')
			decimal->count--;
		if (decimal->count > 0)
			decimal->digits[decimal->count - 1]++;
		else {
			decimal->digits[decimal->count++] = '1';
			decimal->point++;
		}
	}
	trim(decimal);
}

uint64_t __pal_binary_round(uint64_t mantissa, int exponent, int more, const struct pal_format *format, int *range)
{
	*range = 0;
	if (mantissa == 0)
		return 0;
	const int top = __builtin_clzll(mantissa);
	mantissa <<= top;
	exponent -= top;
	/* The value is now mantissa × 2^exponent with the highest bit set: 63 + exponent is what the format calls its exponent. */
	int scale = exponent + 63, kept = format->mantissa_bits;
	const int is_tiny = scale < format->smallest_exponent;
	if (is_tiny)
		kept -= format->smallest_exponent - scale;
	const int dropped = 64 - kept;
	uint64_t result = 0, rest = mantissa, half = UINT64_C(1) << 63;
	if (dropped > 64)
		half = 0;
	else if (dropped < 64) {
		result = mantissa >> dropped;
		rest = mantissa << kept;
	}
	const int is_exact = rest == 0 && !more;
	if (half && (rest > half || (rest == half && (more || (result & 1) != 0))))
		result++;
	*range = is_tiny && !is_exact;
	if (is_tiny)
		return result;
	if (result >> format->mantissa_bits) {
		result >>= 1;
		scale++;
	}
	const int fraction = format->mantissa_bits - 1;
	const uint64_t biased = (uint64_t)(scale - format->smallest_exponent + 1);
	if (scale > format->largest_exponent) {
		*range = 1;
		return (uint64_t)(format->largest_exponent - format->smallest_exponent + 2) << fraction;
	}
	return biased << fraction | (result & ((UINT64_C(1) << fraction) - 1));
}

static int compare(const struct natural *a, const struct natural *b)
{
	if (a->count != b->count)
		return a->count < b->count ? -1 : 1;
	for (int i = a->count - 1; i >= 0; i--)
		if (a->words[i] != b->words[i])
			return a->words[i] < b->words[i] ? -1 : 1;
	return 0;
}

/* a - b, where a is not smaller. */
static void subtract(struct natural *a, const struct natural *b)
{
	uint64_t borrow = 0;
	for (int i = 0; i < a->count; i++) {
		const uint64_t difference = (uint64_t)a->words[i] - (i < b->count ? b->words[i] : 0) - borrow;
		a->words[i] = (uint32_t)difference;
		borrow = difference >> 63;
	}
	while (a->count > 0 && a->words[a->count - 1] == 0)
		a->count--;
}

static int bits_of(const struct natural *n)
{
	return n->count == 0 ? 0 : 32 * n->count - __builtin_clz(n->words[n->count - 1]);
}

uint64_t __pal_binary_of(const struct pal_decimal *decimal, const struct pal_format *format, int *range)
{
	const uint64_t base = UINT64_C(1) << 32;
	*range = 0;
	if (decimal->count == 0)
		return 0;
	if (decimal->point > 400)
		return __pal_binary_round(1, 100000, 0, format, range);
	if (decimal->point < -400)
		return __pal_binary_round(1, -100000, 0, format, range);
	struct natural above = {0}, below = {.count = 1, .words = {1}};
	for (int i = 0; i < decimal->count; i++)
		multiply(&above, 10, (uint32_t)(decimal->digits[i] - '0'), base);
	const int power = decimal->point - decimal->count;
	multiply_power(power > 0 ? &above : &below, 10, power > 0 ? power : -power, 9, base);
	/* The quotient's highest bit at the place where the first division stands; then 64 bits more, and whether anything is left. */
	int exponent = bits_of(&above) - bits_of(&below);
	multiply_power(exponent > 0 ? &below : &above, 2, exponent > 0 ? exponent : -exponent, 31, base);
	uint64_t quotient = 0;
	for (int i = 0; i < 64 && quotient >> 63 == 0; i++) {
		quotient <<= 1;
		if (compare(&above, &below) >= 0) {
			subtract(&above, &below);
			quotient |= 1;
		}
		multiply(&above, 2, 0, base);
		exponent -= i > 0;
	}
	return __pal_binary_round(quotient, exponent, above.count > 0, format, range);
}

uint64_t __pal_narrow(const uint64_t words[2])
{
	static const struct pal_format format = {53, -1022, 1023};
	const uint64_t sign = words[1] >> 63 << 63, fraction = words[1] & ((UINT64_C(1) << 48) - 1);
	const int biased = (int)(words[1] >> 48 & 0x7fff);
	int range;
	if (biased == 0x7fff)
		return sign | UINT64_C(0x7ff) << 52 | (fraction || words[0] ? UINT64_C(1) << 51 : 0);
	if (biased == 0)
		return sign;
	const uint64_t mantissa = UINT64_C(1) << 63 | fraction << 15 | words[0] >> 49;
	return sign | __pal_binary_round(mantissa, biased - 16383 - 63, words[0] << 15 != 0, &format, &range);
}
