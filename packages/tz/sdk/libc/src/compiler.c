/*
 * What compilers call for WebAssembly where other targets have libgcc: 128-bit integers, and the step between double and quadruple.
 * For x86-64 the compiler's own library has these; nothing here is then compiled.
 */
#if defined(__wasm__)
#include <stdint.h>
#include <string.h>

#include "decimal.h"

typedef __int128 wide;
typedef unsigned __int128 natural;

static natural join(uint64_t high, uint64_t low)
{
	union {
		natural value;
		uint64_t words[2];
	} parts = {.words = {low, high}};
	return parts.value;
}

static uint64_t low_of(natural value)
{
	union {
		natural value;
		uint64_t words[2];
	} parts = {.value = value};
	return parts.words[0];
}

static uint64_t high_of(natural value)
{
	union {
		natural value;
		uint64_t words[2];
	} parts = {.value = value};
	return parts.words[1];
}

wide __ashlti3(wide value, int bits);
wide __ashlti3(wide value, int bits)
{
	const uint64_t low = low_of((natural)value), high = high_of((natural)value);
	if (bits == 0)
		return value;
	return (wide)(bits < 64 ? join(high << bits | low >> (64 - bits), low << bits) : join(low << (bits - 64), 0));
}

natural __lshrti3(natural value, int bits);
natural __lshrti3(natural value, int bits)
{
	const uint64_t low = low_of(value), high = high_of(value);
	if (bits == 0)
		return value;
	return bits < 64 ? join(high >> bits, low >> bits | high << (64 - bits)) : join(0, high >> (bits - 64));
}

wide __ashrti3(wide value, int bits);
wide __ashrti3(wide value, int bits)
{
	const uint64_t low = low_of((natural)value);
	const int64_t high = (int64_t)high_of((natural)value);
	if (bits == 0)
		return value;
	if (bits < 64)
		return (wide)join((uint64_t)(high >> bits), low >> bits | (uint64_t)high << (64 - bits));
	return (wide)join((uint64_t)(high >> 63), (uint64_t)(high >> (bits - 64)));
}

wide __multi3(wide a, wide b);
wide __multi3(wide a, wide b)
{
	const uint64_t x = low_of((natural)a), y = low_of((natural)b);
	const uint64_t x0 = (uint32_t)x, x1 = x >> 32, y0 = (uint32_t)y, y1 = y >> 32;
	const uint64_t middle = x1 * y0 + (x0 * y0 >> 32), other = x0 * y1 + (uint32_t)middle;
	const uint64_t high = x1 * y1 + (middle >> 32) + (other >> 32);
	return (wide)join(high + high_of((natural)a) * y + high_of((natural)b) * x, x * y);
}

/* Bit by bit. */
static natural divide(natural a, natural b, natural *rest)
{
	natural quotient = 0, left = 0;
	if (b == 0)
		__builtin_trap();
	for (int i = 127; i >= 0; i--) {
		const uint64_t word = i < 64 ? low_of(a) : high_of(a);
		const int carry = (int)(high_of(left) >> 63);
		left = (natural)__ashlti3((wide)left, 1) | (word >> i % 64 & 1);
		if (carry || left >= b) {
			left -= b;
			quotient |= (natural)__ashlti3(1, i);
		}
	}
	*rest = left;
	return quotient;
}

natural __udivti3(natural a, natural b);
natural __udivti3(natural a, natural b)
{
	natural rest;
	return divide(a, b, &rest);
}

natural __umodti3(natural a, natural b);
natural __umodti3(natural a, natural b)
{
	natural rest;
	divide(a, b, &rest);
	return rest;
}

wide __divti3(wide a, wide b);
wide __divti3(wide a, wide b)
{
	natural rest;
	const natural quotient = divide(a < 0 ? -(natural)a : (natural)a, b < 0 ? -(natural)b : (natural)b, &rest);
	return (wide)((a < 0) != (b < 0) ? -quotient : quotient);
}

wide __modti3(wide a, wide b);
wide __modti3(wide a, wide b)
{
	natural rest;
	divide(a < 0 ? -(natural)a : (natural)a, b < 0 ? -(natural)b : (natural)b, &rest);
	return (wide)(a < 0 ? -rest : rest);
}

/* A double has a place of its own among the quadruples, the small ones too. */
long double __extenddftf2(double value);
long double __extenddftf2(double value)
{
	uint64_t bits, words[2] = {0, 0};
	long double result;
	memcpy(&bits, &value, sizeof bits);
	uint64_t fraction = bits & ((UINT64_C(1) << 52) - 1), exponent = bits >> 52 & 0x7ff;
	if (exponent == 0 && fraction != 0) {
		const int shift = __builtin_clzll(fraction) - 11;
		fraction = fraction << shift & ((UINT64_C(1) << 52) - 1);
		exponent = (uint64_t)(16383 - 1022 - shift);
	} else if (exponent != 0)
		exponent = exponent == 0x7ff ? 0x7fff : exponent + 16383 - 1023;
	words[0] = fraction << 60;
	words[1] = bits >> 63 << 63 | exponent << 48 | fraction >> 4;
	memcpy(&result, words, sizeof result);
	return result;
}

double __trunctfdf2(long double value);
double __trunctfdf2(long double value)
{
	uint64_t words[2], bits;
	double result;
	memcpy(words, &value, sizeof words);
	bits = __pal_narrow(words);
	memcpy(&result, &bits, sizeof result);
	return result;
}
#else
typedef int nothing_for_this_target;
#endif
