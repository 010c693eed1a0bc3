/*
 * The SDK's C library beside the host's, in one program: its names begin with pal_ here. `libc SEED ROUNDS` compares results for
 * values made at random, and prints what differs. Meant to run under the address and undefined-behaviour sanitizers.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define OURS(name) extern __typeof__(name) pal_##name
OURS(memcpy);
OURS(memmove);
OURS(memset);
OURS(memcmp);
OURS(memchr);
OURS(memrchr);
OURS(memmem);
OURS(memccpy);
OURS(strlen);
OURS(strnlen);
OURS(stpcpy);
OURS(stpncpy);
OURS(strncat);
OURS(strcmp);
OURS(strncmp);
OURS(strcasecmp);
OURS(strncasecmp);
OURS(strspn);
OURS(strcspn);
OURS(strpbrk);
OURS(strstr);
OURS(strsep);
OURS(strtok_r);
OURS(snprintf);
OURS(strtol);
OURS(strtoul);
OURS(strtoll);
OURS(strtoull);
OURS(strtod);
OURS(strtof);
OURS(qsort);
OURS(bsearch);
OURS(malloc);
OURS(calloc);
OURS(realloc);
OURS(aligned_alloc);
OURS(free);
OURS(gmtime_r);
OURS(timegm);
size_t pal_strlcpy(char *, const char *, size_t);
size_t pal_strlcat(char *, const char *, size_t);
char *pal_strchr(const char *, int);
char *pal_strrchr(const char *, int);
size_t pal_malloc_usable_size(void *);
int *pal___errno_location(void);
int pal_setjmp(unsigned long *) __attribute__((returns_twice));
void pal_longjmp(unsigned long *, int) __attribute__((noreturn));
int pal_printf(const char *, ...);
int pal_fflush(void *);

/* What the library needs from below. */
static _Alignas(16) unsigned char area[8 << 20];
static size_t area_used;
static char printed[4096];
static size_t printed_size;
_Bool __pal_flushes;

void *__pal_more_memory(size_t bytes)
{
	bytes = (bytes + 15) & ~(size_t)15;
	if (bytes > sizeof area - area_used)
		return NULL;
	area_used += bytes;
	return area + area_used - bytes;
}

void __pal_print(const char *text, size_t size)
{
	if (size <= sizeof printed - printed_size) {
		memcpy(printed + printed_size, text, size);
		printed_size += size;
	}
}

int __pal_random(void *out, size_t size)
{
	memset(out, 7, size);
	return 0;
}

int __pal_elapsed(uint64_t *epoch, uint64_t *microseconds)
{
	*epoch = 1, *microseconds = 1234567;
	return 0;
}

_Noreturn void __pal_end(void)
{
	_Exit(3);
}

/* Numbers at random. */
static uint64_t state, failures, comparisons;

static uint64_t next(void)
{
	uint64_t z = (state += UINT64_C(0x9e3779b97f4a7c15));
	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static unsigned int below(unsigned int limit)
{
	return (unsigned int)(next() % limit);
}

/* Small numbers, large ones and edges. */
static uint64_t number(void)
{
	const uint64_t value = next() >> below(64);
	switch (below(6)) {
	case 0:
		return 0;
	case 1:
		return ~UINT64_C(0);
	case 2:
		return UINT64_C(1) << below(64);
	case 3:
		return (UINT64_C(1) << below(64)) - 1;
	default:
		return value;
	}
}

static void check(int is_good, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void check(int is_good, const char *format, ...)
{
	comparisons++;
	if (is_good || failures++ > 20)
		return;
	va_list arguments;
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	putchar('\n');
}

static int sign(int value)
{
	return (value > 0) - (value < 0);
}

static void fill(unsigned char *to, size_t size)
{
	for (size_t i = 0; i < size; i++)
		to[i] = (unsigned char)next();
}

/* Text of few letters in memory of exactly its size. */
static char *text_of(size_t size, const char *letters)
{
	char *text = malloc(size + 1);
	for (size_t i = 0; i < size; i++)
		text[i] = letters[below((unsigned int)strlen(letters))];
	text[size] = 0;
	return text;
}

static void compare_memory(void)
{
	const size_t size = below(4) ? below(130) : below(3000), offset = below(32), other = below(32);
	unsigned char *a = malloc(size + offset), *b = malloc(size + other), *c = malloc(size + offset);
	fill(a, size + offset);
	fill(b, size + other);
	memcpy(c, a, size + offset);
	check(pal_memcpy(c + offset, b + other, size) == c + offset && memcmp(c + offset, b + other, size) == 0, "memcpy %zu", size);
	check(memcmp(c, a, offset) == 0, "memcpy in front %zu", size);
	const int value = (int)next();
	pal_memset(c + offset, value, size);
	memset(a + offset, value, size);
	check(memcmp(a, c, size + offset) == 0, "memset %zu", size);
	fill(c, size + offset);
	if (size > 0) {
		memcpy(a, c, size + offset);
		const size_t from = below((unsigned int)size), to = below((unsigned int)size);
		const size_t moved = below((unsigned int)(size - (from > to ? from : to)) + 1);
		pal_memmove(c + to, c + from, moved);
		memmove(a + to, a + from, moved);
		check(memcmp(a, c, size + offset) == 0, "memmove %zu from %zu to %zu", moved, from, to);
		c[below((unsigned int)(size + offset))] ^= (unsigned char)(below(3) == 0);
		check(sign(pal_memcmp(a, c, size + offset)) == sign(memcmp(a, c, size + offset)), "memcmp %zu", size);
		const int wanted = below(2) ? a[below((unsigned int)size)] : value;
		check(pal_memchr(a, wanted, size) == memchr(a, wanted, size), "memchr");
		check(pal_memrchr(a, wanted, size) == memrchr(a, wanted, size), "memrchr");
		check(pal_memccpy(c, a, wanted, size) == memccpy(c, a, wanted, size), "memccpy");
	}
	free(a), free(b), free(c);
}

static void compare_text(void)
{
	char *a = text_of(below(40), "abAB"), *b = text_of(below(4) ? below(5) : below(40), "abAB");
	char ours[100], theirs[100], *x, *y, *next_x, *next_y;
	const size_t size = below(50);
	check(pal_strlen(a) == strlen(a), "strlen %s", a);
	check(pal_strnlen(a, size) == strnlen(a, size), "strnlen %s", a);
	check(sign(pal_strcmp(a, b)) == sign(strcmp(a, b)), "strcmp %s %s", a, b);
	check(sign(pal_strncmp(a, b, size)) == sign(strncmp(a, b, size)), "strncmp %s %s", a, b);
	check(sign(pal_strcasecmp(a, b)) == sign(strcasecmp(a, b)), "strcasecmp %s %s", a, b);
	check(sign(pal_strncasecmp(a, b, size)) == sign(strncasecmp(a, b, size)), "strncasecmp %s %s", a, b);
	check(pal_strspn(a, b) == strspn(a, b) && pal_strcspn(a, b) == strcspn(a, b), "strspn %s %s", a, b);
	check(pal_strpbrk(a, b) == strpbrk(a, b), "strpbrk %s %s", a, b);
	check(pal_strstr(a, b) == strstr(a, b), "strstr %s %s", a, b);
	check(pal_memmem(a, strlen(a), b, strlen(b)) == memmem(a, strlen(a), b, strlen(b)), "memmem %s %s", a, b);
	const int letter = "abAB"[below(5)];
	check(pal_strchr(a, letter) == strchr(a, letter) && pal_strrchr(a, letter) == strrchr(a, letter), "strchr %s %c", a, letter);
	memset(ours, 'x', sizeof ours);
	memset(theirs, 'x', sizeof theirs);
	check(pal_stpncpy(ours, a, size) - ours == stpncpy(theirs, a, size) - theirs, "stpncpy %s", a);
	check(memcmp(ours, theirs, sizeof ours) == 0, "stpncpy %s", a);
	ours[size] = theirs[size] = 0;
	pal_strncat(ours, b, size / 2);
	strncat(theirs, b, size / 2);
	check(memcmp(ours, theirs, sizeof ours) == 0, "strncat %s", b);
	const size_t room = below(20);
	char *little = malloc(room + 1);
	little[0] = 0;
	check(pal_strlcpy(little, a, room) == strlen(a), "strlcpy %s", a);
	check(room == 0 || (strlen(little) == (strlen(a) < room ? strlen(a) : room - 1) && memcmp(little, a, strlen(little)) == 0), "strlcpy");
	if (room > 0) {
		const size_t before = strlen(little);
		check(pal_strlcat(little, b, room) == before + strlen(b) && strlen(little) < room, "strlcat %s", b);
	}
	free(little);
	strcpy(ours, a), strcpy(theirs, a);
	for (x = pal_strtok_r(ours, "b", &next_x), y = strtok_r(theirs, "b", &next_y); x && y;
	     x = pal_strtok_r(NULL, "b", &next_x), y = strtok_r(NULL, "b", &next_y))
		check(x - ours == y - theirs && strcmp(x, y) == 0, "strtok_r %s", a);
	check(!x && !y, "strtok_r ends %s", a);
	strcpy(ours, a), strcpy(theirs, a);
	char *left_x = ours, *left_y = theirs;
	while ((y = strsep(&left_y, "aB")) && (x = pal_strsep(&left_x, "aB")))
		check(x - ours == y - theirs && strcmp(x, y) == 0, "strsep %s", a);
	check(!y && !left_x, "strsep ends %s", a);
	free(a), free(b);
}

static double real(void)
{
	uint64_t bits = next();
	double value;
	switch (below(5)) {
	case 0: /* about as large as people's numbers */
		return (double)(int64_t)(next() >> (below(40) + 12)) / (double)(1u << below(20)) * (below(2) ? 1 : -1);
	case 1: /* a few digits, where halves are */
		return (double)(int)below(100000) / 16.0;
	case 2:
		bits &= UINT64_C(0x800fffffffffffff); /* below the normal ones */
		break;
	default:
		break;
	}
	memcpy(&value, &bits, sizeof value);
	return value;
}

static const char *flags_of(char letter)
{
	if (strchr("di", letter))
		return "-+ 0";
	if (letter == 'u')
		return "-0";
	if (strchr("oxX", letter))
		return "-#0";
	return strchr("csp", letter) ? "-" : "-+ #0";
}

/* One conversion at random, printed by both into little rooms. */
static void compare_format(void)
{
	static const char letters[] = "diouxXcspaAeEfFgG";
	static const char *const lengths[] = {"hh", "h", "", "l", "ll", "j", "z", "t"};
	const char letter = letters[below(sizeof letters - 1)], *flags = flags_of(letter);
	char format[64] = "<%", *at = format + 2;
	for (unsigned int i = below(4); i > 0; i--)
		*at++ = flags[below((unsigned int)strlen(flags))];
	if (below(2))
		at += sprintf(at, "%u", 1 + below(below(4) ? 12 : 90));
	if (below(2) && !strchr("cp", letter))
		at += sprintf(at, ".%u", below(below(4) ? 8 : below(8) ? 40 : 1200));
	const char *length = "";
	if (strchr("diouxX", letter))
		at = stpcpy(at, length = lengths[below(8)]);
	*at++ = letter;
	strcpy(at, ">");
	const size_t room = below(3) ? 2048 : below(40);
	char *ours = malloc(room + 1), *theirs = malloc(room + 1);
	memset(ours, 'z', room + 1), memset(theirs, 'z', room + 1);
	int a, b;
	char *text = text_of(below(20), "xyz");
	const double value = real();
	const char *shown = below(10) ? text : NULL;
	const uint64_t whole = number();
#define BOTH(value) (a = pal_snprintf(ours, room, format, value), b = snprintf(theirs, room, format, value))
	if (strchr("aAeEfFgG", letter))
		BOTH(value);
	else if (letter == 's')
		BOTH(shown);
	else if (letter == 'p')
		BOTH((void *)(uintptr_t)whole);
	else if (letter == 'c')
		BOTH((int)(1 + whole % 255));
	else if (*length && strchr("ljzt", *length))
		BOTH(whole);
	else
		BOTH((int)whole);
#undef BOTH
	check(a == b && memcmp(ours, theirs, room + 1) == 0, "printf %s, room %zu: %d %.*s, host %d %.*s", format, room, a, (int)room, ours, b,
	      (int)room, theirs);
	free(ours), free(theirs), free(text);
}

/* Several, with stars, and text between. */
static void compare_formats(void)
{
	char ours[300], theirs[300];
	const int width = (int)below(40) - 20, precision = (int)below(20) - 5;
	const double value = real(), other = real();
	const int i = (int)number();
	const long long l = (long long)number();
#define ARGUMENTS "a%*db%.*fc%%d%*.*e%se%lldf%xg%c%g%i", width, i, precision > 5 ? 5 : precision, other, width, precision, value, "text", l, (unsigned int)i, 'q', other, i
	const int a = pal_snprintf(ours, sizeof ours, ARGUMENTS), b = snprintf(theirs, sizeof theirs, ARGUMENTS);
	check(a == b && strcmp(ours, theirs) == 0, "printf of many: %s, host %s", ours, theirs);
#undef ARGUMENTS
}

static void compare_integers(void)
{
	static const int bases[] = {0, 2, 8, 10, 16, 36, 7};
	char text[100], *at = text, *x, *y;
	for (unsigned int i = below(3); i > 0; i--)
		*at++ = " \t\n\v-+"[below(6)];
	if (below(3) == 0)
		at = stpcpy(at, below(2) ? "0x" : "0");
	if (below(2))
		sprintf(at, below(2) ? "%" PRId64 : "%" PRIx64, (int64_t)number());
	else {
		char *digits = text_of(below(30), "0123456789abcxz ");
		strcpy(at, digits);
		free(digits);
	}
	const int base = bases[below(7)];
#define BOTH(type, name)                                                                                                       \
	do {                                                                                                                   \
		errno = *pal___errno_location() = 0;                                                                           \
		const type a = pal_##name(text, &x, base), b = name(text, &y, base);                                           \
		check(a == b && x == y && (*pal___errno_location() == ERANGE) == (errno == ERANGE), #name " '%s' base %d", text, base); \
	} while (0)
	BOTH(long, strtol);
	BOTH(unsigned long, strtoul);
	BOTH(long long, strtoll);
	BOTH(unsigned long long, strtoull);
#undef BOTH
}

/* The digits of a number halfway between two doubles, and its neighbours. */
static void put_halfway(char *to)
{
	uint64_t bits = next() & ~(UINT64_C(1) << 63);
	if (below(3) == 0)
		bits &= UINT64_C(0x003fffffffffffff);
	double value;
	memcpy(&value, &bits, sizeof value);
	if (!isfinite(value))
		value = 1.5;
	const long double half = ((long double)value + (long double)nextafter(value, INFINITY)) / 2;
	sprintf(to, "%.1100Le", half);
	char *exponent = strchr(to, 'e'), kept[20];
	strcpy(kept, exponent);
	/* Sometimes with something, or almost, at a place far behind. */
	while (exponent[-1] == '0')
		exponent--;
	if (below(3) == 0)
		exponent = stpcpy(exponent, "00000000000000000000000000001");
	strcpy(exponent, kept);
}

static void compare_reals(void)
{
	static char text[4000];
	char *x, *y;
	switch (below(6)) {
	case 0:
		sprintf(text, "%.*e", (int)below(25), real());
		break;
	case 1:
		sprintf(text, "%.*f", (int)below(25), real());
		break;
	case 2:
		sprintf(text, "%.*a", (int)below(18), real());
		break;
	case 3:
		put_halfway(text);
		break;
	case 4: {
		static const char *const words[] = {"inf", "-Infinity", "nan", "nan(12x)", "nan(", "+.e5", ".", "-", "0x", "0x.p1", "0x1p", "1e", "1e+", "infinit", "0x1.8p3", "1e99999999999", "-1e-99999999999", "00000.00000e99999", "0x0p99999999999999"};
		strcpy(text, words[below(sizeof words / sizeof *words)]);
		break;
	}
	default: {
		char *digits = text_of(below(40), "0123456789.e-+x");
		strcpy(text, digits);
		free(digits);
	}
	}
	errno = *pal___errno_location() = 0;
	const double a = pal_strtod(text, &x), b = strtod(text, &y);
	check((memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b))) && x == y, "strtod '%s': %a at %td, host %a at %td", text, a, x - text, b, y - text);
	check((*pal___errno_location() == ERANGE) == (errno == ERANGE), "strtod '%s' errno %d, host %d", text, *pal___errno_location(), errno);
	const float c = pal_strtof(text, &x), d = strtof(text, &y);
	check((memcmp(&c, &d, sizeof c) == 0 || (isnan(c) && isnan(d))) && x == y, "strtof '%s': %a, host %a", text, (double)c, (double)d);
}

static size_t item_size;
static uint64_t calls;

static int compare_items(const void *a, const void *b)
{
	calls++;
	return memcmp(a, b, item_size < 8 ? item_size : 8);
}

static void compare_sorting(void)
{
	static const size_t sizes[] = {1, 2, 4, 8, 12, 24, 100};
	const size_t count = below(8) ? below(60) : below(2000);
	item_size = sizes[below(7)];
	unsigned char *ours = malloc(count * item_size + 1), *theirs = malloc(count * item_size + 1);
	fill(ours, count * item_size);
	const unsigned int pattern = below(6);
	for (size_t i = 0; i < count; i++) {
		unsigned char *item = ours + i * item_size;
		const size_t order = pattern == 1 ? i : pattern == 2 ? count - i : pattern == 3 ? 7 : pattern == 4 ? (i < count / 2 ? i : count - i) : 0;
		if (pattern > 0 && pattern < 5)
			item[0] = item_size > 1 ? (unsigned char)(order >> 8) : (unsigned char)order;
		if (pattern > 0 && pattern < 5 && item_size > 1)
			item[1] = (unsigned char)order;
		/* What is not compared follows from what is, so that equal items are the same. */
		for (size_t j = 8; j < item_size; j++)
			item[j] = (unsigned char)(item[j % 8] + j);
		if (pattern == 5)
			memset(item, item[0] & 3, item_size);
	}
	memcpy(theirs, ours, count * item_size);
	calls = 0;
	pal_qsort(ours, count, item_size, compare_items);
	const double bound = 4 * ((double)count * log2((double)count + 2) + 50);
	check((double)calls < bound, "qsort of %zu, pattern %u: %" PRIu64 " comparisons", count, pattern, calls);
	qsort(theirs, count, item_size, compare_items);
	check(memcmp(ours, theirs, count * item_size) == 0, "qsort of %zu of %zu", count, item_size);
	unsigned char key[128];
	fill(key, sizeof key);
	if (count > 0 && below(2))
		memcpy(key, theirs + below((unsigned int)count) * item_size, item_size);
	const unsigned char *found = pal_bsearch(key, ours, count, item_size, compare_items);
	const void *expected = bsearch(key, theirs, count, item_size, compare_items);
	check(!found == !expected && (!found || compare_items(key, found) == 0), "bsearch of %zu", count);
	free(ours), free(theirs);
}

enum { BLOCKS = 200 };
static struct {
	unsigned char *data;
	size_t size;
	unsigned char mark;
} blocks[BLOCKS];

static void check_block(int i)
{
	for (size_t j = 0; j < blocks[i].size; j++)
		if (blocks[i].data[j] != blocks[i].mark) {
			check(0, "the heap wrote into a block of %zu at %zu", blocks[i].size, j);
			return;
		}
}

static void use_heap(void)
{
	const int i = (int)below(BLOCKS);
	const size_t size = below(8) ? below(600) : below(40000), kept = blocks[i].size < size ? blocks[i].size : size;
	check_block(i);
	unsigned char *data = blocks[i].data;
	const unsigned int what = below(5);
	if (what == 0 || (data && what < 3)) {
		pal_free(data);
		data = NULL;
	}
	if (what == 0) {
		blocks[i].data = NULL, blocks[i].size = 0;
		return;
	}
	const size_t alignment = (size_t)16 << below(9);
	if (data)
		data = pal_realloc(data, size);
	else if (what == 1)
		data = pal_calloc(size, 1);
	else if (what == 2)
		data = pal_aligned_alloc(alignment, size);
	else
		data = pal_malloc(size);
	check(data && (uintptr_t)data % (what == 2 ? alignment : 16) == 0 && pal_malloc_usable_size(data) >= size, "the heap gave %p", (void *)data);
	if (!data) {
		blocks[i].size = 0;
		return;
	}
	if (what == 1)
		for (size_t j = 0; j < size; j++)
			check(data[j] == 0, "calloc gave what is not zero");
	if (what > 2 && blocks[i].data)
		for (size_t j = 0; j < kept; j++)
			check(data[j] == blocks[i].mark, "realloc lost a byte");
	blocks[i].data = data, blocks[i].size = size, blocks[i].mark = (unsigned char)next();
	memset(data, blocks[i].mark, size);
}

/* When all is free again, it is in one piece. */
static void empty_heap(void)
{
	for (int i = 0; i < BLOCKS; i++) {
		check_block(i);
		pal_free(blocks[i].data);
	}
	memset(blocks, 0, sizeof blocks);
	const size_t used = area_used;
	void *all = pal_malloc(used - 64);
	check(all && area_used == used, "the heap has %zu bytes in pieces", used);
	pal_free(all);
	const volatile size_t beyond = SIZE_MAX, large = (size_t)1 << 63;
	check(!pal_malloc(beyond) && !pal_malloc(sizeof area) && !pal_calloc(large, 2), "the heap gave what there is not");
	check(*pal___errno_location() == ENOMEM, "the heap says what is missing");
}

static void compare_time(void)
{
	const time_t when = below(4) ? (time_t)(next() >> 29) - ((time_t)1 << 34) : (time_t)(int64_t)next() >> below(30);
	struct tm a, b;
	memset(&a, 0, sizeof a), memset(&b, 0, sizeof b);
	const int ours = pal_gmtime_r(&when, &a) != NULL, theirs = gmtime_r(&when, &b) != NULL;
	check(ours == theirs && (!ours || (a.tm_sec == b.tm_sec && a.tm_min == b.tm_min && a.tm_hour == b.tm_hour && a.tm_mday == b.tm_mday && a.tm_mon == b.tm_mon && a.tm_year == b.tm_year && a.tm_wday == b.tm_wday && a.tm_yday == b.tm_yday)),
	      "gmtime_r %jd: %d %d %d, host %d %d %d", (intmax_t)when, a.tm_year, a.tm_mon, a.tm_mday, b.tm_year, b.tm_mon, b.tm_mday);
	if (ours)
		check(pal_timegm(&a) == when, "timegm %jd", (intmax_t)when);
	struct tm c = {.tm_year = (int)below(600) - 200, .tm_mon = (int)below(60) - 30, .tm_mday = (int)below(100) - 50, .tm_hour = (int)below(100) - 50, .tm_min = (int)below(200), .tm_sec = (int)below(200)}, d = c;
	check(pal_timegm(&c) == timegm(&d) && c.tm_mon == d.tm_mon && c.tm_mday == d.tm_mday, "timegm normalizes");
}

static void compare_classes(void)
{
#define CLASS(name)                                                                                                            \
	extern int pal_##name(int);                                                                                            \
	for (int c = -1; c < 128; c++)                                                                                         \
	check(!pal_##name(c) == !name(c), #name " %d", c)
	CLASS(isalnum);
	CLASS(isalpha);
	CLASS(isblank);
	CLASS(iscntrl);
	CLASS(isdigit);
	CLASS(isgraph);
	CLASS(islower);
	CLASS(isprint);
	CLASS(ispunct);
	CLASS(isspace);
	CLASS(isupper);
	CLASS(isxdigit);
	extern int pal_tolower(int), pal_toupper(int);
	for (int c = -1; c < 128; c++)
		check(pal_tolower(c) == tolower(c) && pal_toupper(c) == toupper(c), "tolower %d", c);
}

static void (*volatile jump_deeper)(unsigned long *, int);

static void jump(unsigned long *place, int depth)
{
	if (depth == 0)
		pal_longjmp(place, 5);
	jump_deeper(place, depth - 1);
	check(0, "longjmp came back");
}

static void check_jumps(void)
{
	unsigned long place[9];
	volatile int came = 0;
	const int value = pal_setjmp(place);
	came++;
	jump_deeper = jump;
	if (value == 0)
		jump(place, 10);
	check(came == 2 && value == 5, "setjmp gave %d after %d", value, came);
	const int again = pal_setjmp(place);
	if (again == 0)
		pal_longjmp(place, 0);
	check(again == 1, "longjmp with 0 gave %d", again);
}

static void check_output(void)
{
	pal_printf("one %d", 1);
	check(printed_size == 5 && memcmp(printed, "one 1", 5) == 0, "what nobody flushes goes at once");
	__pal_flushes = 1;
	pal_printf(" two");
	check(printed_size == 5, "a line waits for its end");
	pal_printf("\nthree");
	pal_fflush(NULL);
	check(printed_size == 15 && memcmp(printed, "one 1 two\nthree", 15) == 0, "lines come whole: %.*s", (int)printed_size, printed);
}

int main(int count, char **arguments)
{
	state = count > 1 ? strtoull(arguments[1], NULL, 10) : 1;
	const unsigned long rounds = count > 2 ? strtoul(arguments[2], NULL, 10) : 1000;
	static void (*const all[])(void) = {compare_memory, compare_text,    compare_format,  compare_format, compare_formats,
					    compare_integers, compare_reals, compare_sorting, use_heap,       compare_time};
	compare_classes();
	check_jumps();
	check_output();
	for (unsigned long i = 0; i < rounds; i++)
		for (size_t j = 0; j < sizeof all / sizeof *all; j++)
			all[j]();
	empty_heap();
	printf("%" PRIu64 " comparisons, %" PRIu64 " differences\n", comparisons, failures);
	return failures > 0;
}
