/* Integers: from text, and their parts; C11 7.22.1.4 and 7.22.6, 7.8.2. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>

/* What stood there: its amount, as far as 64 bits hold it. */
struct number {
	unsigned long long amount;
	int is_negative, is_beyond;
};

static int digit_of(char c)
{
	if (isdigit((unsigned char)c))
		return c - '0';
	return isalpha((unsigned char)c) ? tolower((unsigned char)c) - 'a' + 10 : 36;
}

static struct number parse(const char *text, char **end, int base)
{
	struct number number = {0, 0, 0};
	const char *at = text, *last = text;
	while (isspace((unsigned char)*at))
		at++;
	if (*at == '-' || *at == '+')
		number.is_negative = *at++ == '-';
	if ((base == 0 || base == 16) && *at == '0' && tolower((unsigned char)at[1]) == 'x' && digit_of(at[2]) < 16)
		at += 2, base = 16;
	if (base == 0)
		base = *at == '0' ? 8 : 10;
	if (base < 2 || base > 36)
		errno = EINVAL;
	else
		for (int digit; (digit = digit_of(*at)) < base; last = ++at)
			if (number.amount > (ULLONG_MAX - (unsigned int)digit) / (unsigned int)base)
				number.is_beyond = 1;
			else
				number.amount = number.amount * (unsigned int)base + (unsigned int)digit;
	if (end)
		*end = (char *)(uintptr_t)last;
	return number;
}

/* Within `limit` and -`limit` - 1, else the nearer one and ERANGE. */
static long long as_signed(struct number number, unsigned long long limit)
{
	const unsigned long long largest = limit + (unsigned int)number.is_negative;
	if (number.is_beyond || number.amount > largest) {
		errno = ERANGE;
		number.amount = largest;
	}
	return (long long)(number.is_negative ? -number.amount : number.amount);
}

static unsigned long long as_unsigned(struct number number, unsigned long long limit)
{
	if (number.is_beyond || number.amount > limit) {
		errno = ERANGE;
		return limit;
	}
	return (number.is_negative ? -number.amount : number.amount) & limit;
}

long strtol(const char *restrict text, char **restrict end, int base)
{
	return (long)as_signed(parse(text, end, base), LONG_MAX);
}
unsigned long strtoul(const char *restrict text, char **restrict end, int base)
{
	return (unsigned long)as_unsigned(parse(text, end, base), ULONG_MAX);
}
long long strtoll(const char *restrict text, char **restrict end, int base)
{
	return as_signed(parse(text, end, base), LLONG_MAX);
}
unsigned long long strtoull(const char *restrict text, char **restrict end, int base)
{
	return as_unsigned(parse(text, end, base), ULLONG_MAX);
}
intmax_t strtoimax(const char *restrict text, char **restrict end, int base)
{
	return as_signed(parse(text, end, base), INTMAX_MAX);
}
uintmax_t strtoumax(const char *restrict text, char **restrict end, int base)
{
	return as_unsigned(parse(text, end, base), UINTMAX_MAX);
}

int atoi(const char *text)
{
	return (int)strtol(text, NULL, 10);
}
long atol(const char *text)
{
	return strtol(text, NULL, 10);
}
long long atoll(const char *text)
{
	return strtoll(text, NULL, 10);
}

int abs(int value)
{
	return value < 0 ? -value : value;
}
long labs(long value)
{
	return value < 0 ? -value : value;
}
long long llabs(long long value)
{
	return value < 0 ? -value : value;
}
intmax_t imaxabs(intmax_t value)
{
	return value < 0 ? -value : value;
}

div_t div(int numerator, int denominator)
{
	return (div_t){numerator / denominator, numerator % denominator};
}
ldiv_t ldiv(long numerator, long denominator)
{
	return (ldiv_t){numerator / denominator, numerator % denominator};
}
lldiv_t lldiv(long long numerator, long long denominator)
{
	return (lldiv_t){numerator / denominator, numerator % denominator};
}
imaxdiv_t imaxdiv(intmax_t numerator, intmax_t denominator)
{
	return (imaxdiv_t){numerator / denominator, numerator % denominator};
}
