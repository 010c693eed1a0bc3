/* The rounding functions that C of wasm2c calls, for SSE2 alone: rounding by instruction came with SSE4.1. */
#ifndef CASEMATE_MATH_H
#define CASEMATE_MATH_H

#include <stdint.h>

#define NAN __builtin_nanf("")
#define INFINITY __builtin_inff()
#define isnan(x) __builtin_isnan(x)
#define signbit(x) __builtin_signbit(x)
#define fabs(x) __builtin_fabs(x)
#define fabsf(x) __builtin_fabsf(x)
#define copysign(x, y) __builtin_copysign(x, y)
#define copysignf(x, y) __builtin_copysignf(x, y)

/* Clears the bits behind the point. */
static inline double trunc(double x)
{
	uint64_t bits;
	__builtin_memcpy(&bits, &x, 8);
	int exponent = (int)(bits >> 52 & 0x7ff) - 1023;
	if (exponent >= 52)
		return x;
	bits &= exponent < 0 ? 1ull << 63 : ~((1ull << (52 - exponent)) - 1);
	__builtin_memcpy(&x, &bits, 8);
	return x;
}

static inline double floor(double x)
{
	double whole = trunc(x);
	return whole > x ? whole - 1 : whole;
}

static inline double ceil(double x)
{
	double whole = trunc(x);
	return whole < x ? copysign(whole + 1, x) : whole;
}

/* To even: an addition that leaves no room behind the point rounds by itself. */
static inline double nearbyint(double x)
{
	volatile double large = 4503599627370496.0;
	double positive = fabs(x);
	return positive < large ? copysign(positive + large - large, x) : x;
}

static inline double sqrt(double x)
{
	double root;
	__asm__("sqrtsd %1, %0" : "=x"(root) : "x"(x));
	return root;
}

static inline float sqrtf(float x)
{
	float root;
	__asm__("sqrtss %1, %0" : "=x"(root) : "x"(x));
	return root;
}

/* Doubles hold every float, and these results exactly. */
static inline float truncf(float x)
{
	return (float)trunc(x);
}
static inline float floorf(float x)
{
	return (float)floor(x);
}
static inline float ceilf(float x)
{
	return (float)ceil(x);
}
static inline float nearbyintf(float x)
{
	return (float)nearbyint(x);
}

#endif
