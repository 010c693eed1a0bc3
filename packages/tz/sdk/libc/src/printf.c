/* Formatted output; C11 7.21.6. Integers alone: on WebAssembly there is no floating-point instruction in here. */
#include "printf.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "decimal.h"

enum { FLAG_LEFT = 1, FLAG_PLUS = 2, FLAG_SPACE = 4, FLAG_ALTERNATE = 8, FLAG_ZERO = 16 };
enum length { LENGTH_NONE, LENGTH_HH, LENGTH_H, LENGTH_L, LENGTH_LL, LENGTH_LONG_DOUBLE };

/* One conversion of a format. */
struct conversion {
	unsigned int flags;
	int width;
	/* -1 where there is none. */
	int precision;
	enum length length;
	char letter;
};

/* What comes out, and how much it is. */
struct output {
	struct pal_sink *sink;
	size_t count;
};

/* va_list in a structure, so that it can be handed on by reference on every ABI. */
struct arguments {
	va_list list;
};

static void put(struct output *out, const char *text, size_t size)
{
	out->sink->put(out->sink, text, size);
	out->count += size;
}

static void put_char(struct output *out, char c)
{
	put(out, &c, 1);
}

static void put_many(struct output *out, char c, long count)
{
	char piece[32];
	memset(piece, c, sizeof piece);
	for (; count > 0; count -= (long)sizeof piece)
		put(out, piece, count < (long)sizeof piece ? (size_t)count : sizeof piece);
}

/* Blanks in front, prefix, zeros: whatever comes in front of `size` bytes; returns the blanks that are due behind them. */
static long put_front(struct output *out, const struct conversion *c, const char *prefix, long size, int may_have_zeros)
{
	const long blanks = c->width - size - (long)strlen(prefix);
	const int has_zeros = may_have_zeros && (c->flags & FLAG_ZERO) && !(c->flags & FLAG_LEFT);
	if (!has_zeros && !(c->flags & FLAG_LEFT))
		put_many(out, ' ', blanks);
	put(out, prefix, strlen(prefix));
	if (has_zeros)
		put_many(out, '0', blanks);
	return c->flags & FLAG_LEFT ? blanks : 0;
}

static void put_padded(struct output *out, const struct conversion *c, const char *text, size_t size)
{
	const long behind = put_front(out, c, "", (long)size, 0);
	put(out, text, size);
	put_many(out, ' ', behind);
}

static const char *sign_of(const struct conversion *c, int is_negative)
{
	if (is_negative)
		return "-";
	return c->flags & FLAG_PLUS ? "+" : c->flags & FLAG_SPACE ? " " : "";
}

/* The digits of `value` in front of `end`. */
static char *digits_of(uint64_t value, unsigned int base, int is_upper, char *end)
{
	const char *digits = is_upper ? "0123456789ABCDEF" : "0123456789abcdef";
	for (; value > 0; value /= base)
		*--end = digits[value % base];
	return end;
}

static void put_integer(struct output *out, const struct conversion *c, const char *prefix, uint64_t value, unsigned int base)
{
	char digits[24];
	char *end = digits + sizeof digits, *start = digits_of(value, base, c->letter == 'X', end);
	const long count = end - start;
	long zeros = (c->precision < 0 ? 1 : c->precision) - count;
	if (base == 8 && (c->flags & FLAG_ALTERNATE) && zeros <= 0)
		zeros = 1;
	if (zeros < 0)
		zeros = 0;
	const long behind = put_front(out, c, prefix, count + zeros, c->precision < 0);
	put_many(out, '0', zeros);
	put(out, start, (size_t)count);
	put_many(out, ' ', behind);
}

static int64_t signed_argument(struct arguments *arguments, enum length length)
{
	if (length == LENGTH_LL)
		return va_arg(arguments->list, long long);
	if (length == LENGTH_L)
		return va_arg(arguments->list, long);
	const int value = va_arg(arguments->list, int);
	return length == LENGTH_HH ? (signed char)value : length == LENGTH_H ? (short)value : value;
}

static uint64_t unsigned_argument(struct arguments *arguments, enum length length)
{
	if (length == LENGTH_LL)
		return va_arg(arguments->list, unsigned long long);
	if (length == LENGTH_L)
		return va_arg(arguments->list, unsigned long);
	const unsigned int value = va_arg(arguments->list, unsigned int);
	return length == LENGTH_HH ? (unsigned char)value : length == LENGTH_H ? (unsigned short)value : value;
}

static void put_signed(struct output *out, const struct conversion *c, struct arguments *arguments)
{
	const int64_t value = signed_argument(arguments, c->length);
	put_integer(out, c, sign_of(c, value < 0), value < 0 ? -(uint64_t)value : (uint64_t)value, 10);
}

static void put_unsigned(struct output *out, const struct conversion *c, struct arguments *arguments)
{
	const uint64_t value = unsigned_argument(arguments, c->length);
	const int has_prefix = (c->flags & FLAG_ALTERNATE) && value != 0;
	if (c->letter == 'o')
		put_integer(out, c, "", value, 8);
	else if (c->letter == 'u')
		put_integer(out, c, "", value, 10);
	else
		put_integer(out, c, !has_prefix ? "" : c->letter == 'X' ? "0X" : "0x", value, 16);
}

static void put_pointer(struct output *out, struct conversion c, struct arguments *arguments)
{
	const uintptr_t value = (uintptr_t)va_arg(arguments->list, void *);
	if (!value) {
		put_padded(out, &c, "(nil)", 5);
		return;
	}
	put_integer(out, &c, *sign_of(&c, 0) == '+' ? "+0x" : *sign_of(&c, 0) ? " 0x" : "0x", value, 16);
}

/* Characters of more than a byte are not known: ASCII alone comes through. */
static int put_wide(struct output *out, const struct conversion *c, const __WCHAR_TYPE__ *text)
{
	size_t size = 0;
	while ((c->precision < 0 || size < (size_t)c->precision) && text[size]) {
		if (text[size] < 0 || text[size] > 127) {
			errno = EILSEQ;
			return -1;
		}
		size++;
	}
	const long behind = put_front(out, c, "", (long)size, 0);
	for (size_t i = 0; i < size; i++)
		put_char(out, (char)text[i]);
	put_many(out, ' ', behind);
	return 0;
}

static int put_text(struct output *out, const struct conversion *c, struct arguments *arguments)
{
	const char *text = va_arg(arguments->list, const char *);
	if (!text)
		text = c->precision < 0 || c->precision >= 6 ? "(null)" : "";
	else if (c->length == LENGTH_L)
		return put_wide(out, c, (const __WCHAR_TYPE__ *)(const void *)text);
	put_padded(out, c, text, c->precision < 0 ? strlen(text) : strnlen(text, (size_t)c->precision));
	return 0;
}

/* A number with a point in its parts. */
struct real {
	uint64_t mantissa;
	int exponent;
	int is_negative;
	/* 0 a number, 1 infinite, 2 none. */
	int kind;
};

static struct real real_of(uint64_t bits)
{
	const int biased = (int)(bits >> 52 & 0x7ff);
	const uint64_t fraction = bits & ((UINT64_C(1) << 52) - 1);
	const int is_negative = bits >> 63 != 0;
	if (biased == 0x7ff)
		return (struct real){0, 0, is_negative, fraction ? 2 : 1};
	if (biased == 0)
		return (struct real){fraction, -1074, is_negative, 0};
	return (struct real){fraction | UINT64_C(1) << 52, biased - 1075, is_negative, 0};
}

static uint64_t real_argument(struct arguments *arguments, enum length length)
{
#if defined(__wasm__)
	/* A double lies among the arguments as an integer of its size does; a quadruple is moved as two integers. */
	if (length != LENGTH_LONG_DOUBLE)
		return va_arg(arguments->list, uint64_t);
	const long double value = va_arg(arguments->list, long double);
	uint64_t words[2];
	memcpy(words, &value, sizeof words);
	return __pal_narrow(words);
#else
	const double value =
		length == LENGTH_LONG_DOUBLE ? (double)va_arg(arguments->list, long double) : va_arg(arguments->list, double);
	uint64_t bits;
	memcpy(&bits, &value, sizeof bits);
	return bits;
#endif
}

/* Digits from `first` on, zeros beyond the last. */
static void put_digits(struct output *out, const struct pal_decimal *decimal, long first, long count)
{
	if (first < 0 && count > 0) {
		const long zeros = -first < count ? -first : count;
		put_many(out, '0', zeros);
		first += zeros, count -= zeros;
	}
	if (first < decimal->count && count > 0) {
		const long there = decimal->count - first < count ? decimal->count - first : count;
		put(out, decimal->digits + first, (size_t)there);
		count -= there;
	}
	put_many(out, '0', count);
}

static void put_fixed(struct output *out, const struct conversion *c, const char *sign, const struct pal_decimal *decimal,
		      long behind_point)
{
	const long whole = decimal->point > 0 ? decimal->point : 1;
	const int has_point = behind_point > 0 || (c->flags & FLAG_ALTERNATE);
	const long behind = put_front(out, c, sign, whole + has_point + behind_point, 1);
	put_digits(out, decimal, decimal->point - whole, whole);
	if (has_point)
		put_char(out, '.');
	put_digits(out, decimal, decimal->point, behind_point);
	put_many(out, ' ', behind);
}

static void put_exponential(struct output *out, const struct conversion *c, const char *sign, const struct pal_decimal *decimal,
			    long behind_point)
{
	const int is_upper = c->letter < 'a', has_point = behind_point > 0 || (c->flags & FLAG_ALTERNATE);
	const int exponent = decimal->point - 1, amount = exponent < 0 ? -exponent : exponent;
	char digits[8];
	char *end = digits + sizeof digits, *start = digits_of((uint64_t)amount, 10, 0, end);
	while (end - start < 2)
		*--start = '0';
	*--start = exponent < 0 ? '-' : '+';
	*--start = is_upper ? 'E' : 'e';
	const long behind = put_front(out, c, sign, 1 + has_point + behind_point + (end - start), 1);
	put_digits(out, decimal, 0, 1);
	if (has_point)
		put_char(out, '.');
	put_digits(out, decimal, 1, behind_point);
	put(out, start, (size_t)(end - start));
	put_many(out, ' ', behind);
}

/* %g: whichever is shorter, and no zeros at the end unless they are asked for. */
static void put_general(struct output *out, const struct conversion *c, const char *sign, struct pal_decimal *decimal, long precision)
{
	const long digits = precision > 0 ? precision : 1;
	__pal_decimal_round(decimal, digits > LARGEST_DECIMAL ? LARGEST_DECIMAL : (int)digits);
	const long shown = c->flags & FLAG_ALTERNATE ? digits : decimal->count > 0 ? decimal->count : 1;
	if (decimal->point - 1 < -4 || decimal->point > digits)
		put_exponential(out, c, sign, decimal, shown - 1);
	else
		put_fixed(out, c, sign, decimal, shown > decimal->point ? shown - decimal->point : 0);
}

static void put_decimal(struct output *out, const struct conversion *c, const char *sign, const struct real *real)
{
	struct pal_decimal decimal;
	const long precision = c->precision < 0 ? 6 : c->precision;
	/* Beyond the last digit that a double can have there are zeros alone. */
	const int kept = precision > 2000 ? 2000 : (int)precision;
	__pal_decimal_of(real->mantissa, real->exponent, &decimal);
	switch (c->letter | 0x20) {
	case 'f':
		__pal_decimal_round(&decimal, decimal.point + kept);
		put_fixed(out, c, sign, &decimal, precision);
		return;
	case 'e':
		__pal_decimal_round(&decimal, kept + 1);
		put_exponential(out, c, sign, &decimal, precision);
		return;
	default:
		put_general(out, c, sign, &decimal, precision);
	}
}

/* %a: one digit, the point, the other 13 digits of the mantissa or as many as are asked for, the exponent of two. */
static void put_hexadecimal(struct output *out, const struct conversion *c, const char *sign, const struct real *real)
{
	const int is_upper = c->letter == 'A';
	uint64_t mantissa = real->mantissa;
	int exponent = mantissa ? real->exponent + 52 : 0;
	long precision = c->precision;
	if (precision >= 0 && precision < 13) {
		const int dropped = 4 * (13 - (int)precision);
		const uint64_t half = UINT64_C(1) << (dropped - 1), rest = mantissa & (2 * half - 1);
		mantissa >>= dropped;
		mantissa += rest > half || (rest == half && (mantissa & 1) != 0);
		mantissa <<= dropped;
	}
	if (precision < 0)
		for (precision = 13; precision > 0 && (mantissa >> 4 * (13 - precision) & 15) == 0;)
			precision--;
	char digits[16], power[12], prefix[8];
	for (int i = 0; i < 14; i++)
		digits[i] = (is_upper ? "0123456789ABCDEF" : "0123456789abcdef")[mantissa >> 4 * (13 - i) & 15];
	char *end = power + sizeof power, *start = digits_of((uint64_t)(exponent < 0 ? -exponent : exponent), 10, 0, end);
	if (start == end)
		*--start = '0';
	*--start = exponent < 0 ? '-' : '+';
	*--start = is_upper ? 'P' : 'p';
	strcpy(prefix, sign);
	strcat(prefix, is_upper ? "0X" : "0x");
	const int has_point = precision > 0 || (c->flags & FLAG_ALTERNATE);
	const long behind = put_front(out, c, prefix, 1 + has_point + precision + (end - start), 1);
	put_char(out, digits[0]);
	if (has_point)
		put_char(out, '.');
	put(out, digits + 1, precision < 13 ? (size_t)precision : 13);
	put_many(out, '0', precision - 13);
	put(out, start, (size_t)(end - start));
	put_many(out, ' ', behind);
}

static void put_real(struct output *out, const struct conversion *c, struct arguments *arguments)
{
	const struct real real = real_of(real_argument(arguments, c->length));
	const char *sign = sign_of(c, real.is_negative);
	if (real.kind == 0) {
		((c->letter | 0x20) == 'a' ? put_hexadecimal : put_decimal)(out, c, sign, &real);
		return;
	}
	const char *text = real.kind == 1 ? (c->letter < 'a' ? "INF" : "inf") : c->letter < 'a' ? "NAN" : "nan";
	const long behind = put_front(out, c, sign, 3, 0);
	put(out, text, 3);
	put_many(out, ' ', behind);
}

static unsigned int flag_of(char c)
{
	switch (c) {
	case '-':
		return FLAG_LEFT;
	case '+':
		return FLAG_PLUS;
	case ' ':
		return FLAG_SPACE;
	case '#':
		return FLAG_ALTERNATE;
	case '0':
		return FLAG_ZERO;
	default:
		return 0;
	}
}

/* A number, or the next argument for a "*". -1 where it is too large. */
static int read_number(const char **at, struct arguments *arguments, int *is_negative)
{
	int value = 0;
	*is_negative = 0;
	if (**at == '*') {
		++*at;
		value = va_arg(arguments->list, int);
		*is_negative = value < 0;
		if (value == INT_MIN)
			return -1;
		return value < 0 ? -value : value;
	}
	for (; **at >= '0' && **at <= '9'; ++*at)
		if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, **at - '0', &value))
			return -1;
	return value;
}

/* Where two lengths have one size they are one here. */
static enum length read_length(const char **at)
{
	const char c = *(*at)++;
	const enum length of_64 = sizeof(long) == 8 ? LENGTH_L : LENGTH_LL;
	switch (c) {
	case 'h':
	case 'l':
		if (**at != c)
			return c == 'h' ? LENGTH_H : LENGTH_L;
		++*at;
		return c == 'h' ? LENGTH_HH : LENGTH_LL;
	case 'j':
		return of_64;
	case 'z':
	case 't':
		return LENGTH_L;
	case 'L':
		return LENGTH_LONG_DOUBLE;
	default:
		--*at;
		return LENGTH_NONE;
	}
}

/* What stands behind a "%"; 0 for a number that is too large. */
static int read_conversion(const char **at, struct arguments *arguments, struct conversion *c)
{
	int is_negative;
	*c = (struct conversion){.precision = -1};
	for (unsigned int flag; (flag = flag_of(**at)) != 0; ++*at)
		c->flags |= flag;
	c->width = read_number(at, arguments, &is_negative);
	if (c->width < 0)
		return 0;
	if (is_negative)
		c->flags |= FLAG_LEFT;
	if (**at == '.') {
		++*at;
		c->precision = read_number(at, arguments, &is_negative);
		if (c->precision < 0)
			return 0;
		if (is_negative)
			c->precision = -1;
	}
	c->length = read_length(at);
	c->letter = **at;
	if (c->letter)
		++*at;
	return 1;
}

/* 0; 1 for what is no conversion; -1 for an error. */
static int convert(struct output *out, const struct conversion *c, struct arguments *arguments)
{
	switch (c->letter) {
	case 'd':
	case 'i':
		put_signed(out, c, arguments);
		return 0;
	case 'o':
	case 'u':
	case 'x':
	case 'X':
		put_unsigned(out, c, arguments);
		return 0;
	case 'p':
		put_pointer(out, *c, arguments);
		return 0;
	case 'c': {
		const char value = (char)va_arg(arguments->list, int);
		put_padded(out, c, &value, 1);
		return 0;
	}
	case 's':
		return put_text(out, c, arguments);
	case 'a':
	case 'A':
	case 'e':
	case 'E':
	case 'f':
	case 'F':
	case 'g':
	case 'G':
		put_real(out, c, arguments);
		return 0;
	case '%':
		put_char(out, '%');
		return 0;
	default:
		return 1;
	}
}

int __pal_format(struct pal_sink *sink, const char *format, va_list list)
{
	struct output out = {sink, 0};
	struct arguments arguments;
	int result = 0;
	va_copy(arguments.list, list);
	while (*format && result == 0) {
		const size_t plain = strcspn(format, "%");
		put(&out, format, plain);
		format += plain;
		if (!*format)
			break;
		const char *start = format++;
		struct conversion c;
		if (!read_conversion(&format, &arguments, &c)) {
			errno = EOVERFLOW;
			result = -1;
		} else
			result = convert(&out, &c, &arguments);
		/* The rest may not fit the arguments any more: it comes out as it stands. */
		if (result == 1)
			put(&out, start, strlen(start));
	}
	va_end(arguments.list);
	if (result >= 0 && out.count > INT_MAX) {
		errno = EOVERFLOW;
		return -1;
	}
	return result < 0 ? -1 : (int)out.count;
}
