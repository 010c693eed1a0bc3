/* Numbers with a point from text, correctly rounded; C11 7.22.1.3. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "decimal.h"

/* A number as it was read: its bits without the sign, and where it ends; NULL where there was none. */
struct reading {
	uint64_t bits;
	const char *end;
	int range;
};

/* An exponent behind `letter`, if one is there, held within what fits. */
static const char *read_exponent(const char *at, char letter, long *exponent)
{
	if (tolower((unsigned char)*at) != letter)
		return at;
	const char *digits = at + 1 + (at[1] == '-' || at[1] == '+');
	if (!isdigit((unsigned char)*digits))
		return at;
	long amount = 0;
	for (; isdigit((unsigned char)*digits); digits++)
		if (amount < 100000000)
			amount = 10 * amount + (*digits - '0');
	*exponent += at[1] == '-' ? -amount : amount;
	return digits;
}

static int clamp(long value)
{
	return value > 1000000 ? 1000000 : value < -1000000 ? -1000000 : (int)value;
}

static struct reading read_decimal(const char *text, const struct pal_format *format)
{
	struct pal_decimal decimal = {0};
	struct reading reading = {0};
	long point = 0;
	int any = 0, behind_point = 0;
	const char *at = text;
	for (; isdigit((unsigned char)*at) || (*at == '.' && !behind_point); at++) {
		if (*at == '.') {
			behind_point = 1;
			continue;
		}
		any = 1;
		if (decimal.count == 0 && *at == '0') {
			point -= behind_point;
			continue;
		}
		point += !behind_point;
		if (decimal.count <= LARGEST_DECIMAL)
			decimal.digits[decimal.count++] = *at;
		else if (*at != '0') /* whatever comes here only tells that it is more than a half */
			decimal.digits[LARGEST_DECIMAL] = '1';
	}
	if (!any)
		return reading;
	reading.end = read_exponent(at, 'e', &point);
	decimal.point = clamp(point);
	reading.bits = __pal_binary_of(&decimal, format, &reading.range);
	return reading;
}

static int hexadecimal(char c)
{
	return isdigit((unsigned char)c) ? c - '0' : tolower((unsigned char)c) - 'a' + 10;
}

static struct reading read_hexadecimal(const char *text, const struct pal_format *format)
{
	struct reading reading = {0};
	uint64_t mantissa = 0;
	long exponent = 0;
	int any = 0, more = 0, behind_point = 0;
	const char *at = text;
	for (; isxdigit((unsigned char)*at) || (*at == '.' && !behind_point); at++) {
		if (*at == '.') {
			behind_point = 1;
			continue;
		}
		any = 1;
		if (mantissa >> 60 == 0) {
			mantissa = mantissa << 4 | (unsigned int)hexadecimal(*at);
			exponent -= 4 * behind_point;
		} else {
			more |= *at != '0';
			exponent += 4 * !behind_point;
		}
	}
	if (!any)
		return reading;
	reading.end = read_exponent(at, 'p', &exponent);
	reading.bits = __pal_binary_round(mantissa, clamp(exponent), more, format, &reading.range);
	return reading;
}

static uint64_t infinity_of(const struct pal_format *format)
{
	return (uint64_t)(format->largest_exponent - format->smallest_exponent + 2) << (format->mantissa_bits - 1);
}

static const char *behind_parentheses(const char *at)
{
	const char *end = at + 1;
	if (*at != '(')
		return at;
	while (isalnum((unsigned char)*end) || *end == '_')
		end++;
	return *end == ')' ? end + 1 : at;
}

static struct reading read_amount(const char *at, const struct pal_format *format)
{
	const uint64_t infinity = infinity_of(format);
	if (strncasecmp(at, "infinity", 8) == 0)
		return (struct reading){infinity, at + 8, 0};
	if (strncasecmp(at, "inf", 3) == 0)
		return (struct reading){infinity, at + 3, 0};
	if (strncasecmp(at, "nan", 3) == 0)
		return (struct reading){infinity | UINT64_C(1) << (format->mantissa_bits - 2), behind_parentheses(at + 3), 0};
	if (at[0] == '0' && tolower((unsigned char)at[1]) == 'x') {
		const struct reading reading = read_hexadecimal(at + 2, format);
		if (reading.end)
			return reading;
	}
	return read_decimal(at, format);
}

/* The bits of the number in `text` with its sign, `sign_bit`. */
static uint64_t read(const char *text, char **end, const struct pal_format *format, int sign_bit)
{
	const char *at = text;
	while (isspace((unsigned char)*at))
		at++;
	const int is_negative = *at == '-';
	if (*at == '-' || *at == '+')
		at++;
	const struct reading reading = read_amount(at, format);
	if (end)
		*end = (char *)(uintptr_t)(reading.end ? reading.end : text);
	if (!reading.end)
		return 0;
	if (reading.range)
		errno = ERANGE;
	return reading.bits | (uint64_t)is_negative << sign_bit;
}

double strtod(const char *restrict text, char **restrict end)
{
	static const struct pal_format format = {53, -1022, 1023};
	const uint64_t bits = read(text, end, &format, 63);
	double value;
	memcpy(&value, &bits, sizeof value);
	return value;
}

float strtof(const char *restrict text, char **restrict end)
{
	static const struct pal_format format = {24, -126, 127};
	const uint32_t bits = (uint32_t)read(text, end, &format, 31);
	float value;
	memcpy(&value, &bits, sizeof value);
	return value;
}

double atof(const char *text)
{
	return strtod(text, NULL);
}
