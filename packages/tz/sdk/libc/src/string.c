/* Memory and text; C11 7.24. Memory goes in pieces of 16 bytes, which every target here can load from any address. */
#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned char piece __attribute__((vector_size(16), aligned(1), may_alias));
typedef uint64_t word __attribute__((aligned(1), may_alias));
typedef size_t aligned_word __attribute__((may_alias));

enum { PIECE = sizeof(piece) };
/* From here on the processor's own copying is faster than a loop. */
enum { LARGE = 1024 };

static void copy_up(unsigned char *to, const unsigned char *from, size_t size)
{
	for (; size >= PIECE; size -= PIECE, to += PIECE, from += PIECE)
		*(piece *)to = *(const piece *)from;
	for (; size > 0; size--)
		*to++ = *from++;
}

void *memcpy(void *restrict to, const void *restrict from, size_t size)
{
#if defined(__x86_64__)
	if (size >= LARGE) {
		void *at = to;
		__asm__ volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(size) : : "memory");
		return to;
	}
#endif
	copy_up(to, from, size);
	return to;
}

void *memmove(void *to, const void *from, size_t size)
{
	unsigned char *a = to;
	const unsigned char *b = from;
	if ((uintptr_t)a - (uintptr_t)b >= size)
		return memcpy(to, from, size);
	for (; size >= PIECE; size -= PIECE)
		*(piece *)(a + size - PIECE) = *(const piece *)(b + size - PIECE);
	while (size-- > 0)
		a[size] = b[size];
	return to;
}

void *memset(void *to, int value, size_t size)
{
	unsigned char *at = to;
#if defined(__x86_64__)
	if (size >= LARGE) {
		__asm__ volatile("rep stosb" : "+D"(at), "+c"(size) : "a"(value) : "memory");
		return to;
	}
#endif
	const piece pieces = (piece){0} + (unsigned char)value;
	for (; size >= PIECE; size -= PIECE, at += PIECE)
		*(piece *)at = pieces;
	while (size-- > 0)
		*at++ = (unsigned char)value;
	return to;
}

void explicit_bzero(void *to, size_t size)
{
	memset(to, 0, size);
	__asm__ volatile("" : : "r"(to) : "memory");
}

void *mempcpy(void *restrict to, const void *restrict from, size_t size)
{
	return (unsigned char *)memcpy(to, from, size) + size;
}

void *memccpy(void *restrict to, const void *restrict from, int last, size_t size)
{
	const unsigned char *found = memchr(from, last, size);
	if (!found) {
		memcpy(to, from, size);
		return NULL;
	}
	return mempcpy(to, from, (size_t)(found - (const unsigned char *)from) + 1);
}

int memcmp(const void *a, const void *b, size_t size)
{
	const unsigned char *x = a, *y = b;
	for (; size >= sizeof(word) && *(const word *)x == *(const word *)y; size -= sizeof(word))
		x += sizeof(word), y += sizeof(word);
	for (; size > 0; size--, x++, y++)
		if (*x != *y)
			return *x - *y;
	return 0;
}

void *memchr(const void *memory, int value, size_t size)
{
	const unsigned char *at = memory;
	for (; size > 0; size--, at++)
		if (*at == (unsigned char)value)
			return (void *)(uintptr_t)at;
	return NULL;
}

void *memrchr(const void *memory, int value, size_t size)
{
	const unsigned char *bytes = memory;
	while (size-- > 0)
		if (bytes[size] == (unsigned char)value)
			return (void *)(uintptr_t)(bytes + size);
	return NULL;
}

void *memmem(const void *memory, size_t size, const void *wanted, size_t wanted_size)
{
	const unsigned char *at = memory, *first = wanted;
	if (wanted_size == 0)
		return (void *)(uintptr_t)at;
	for (const unsigned char *end = at + size; (size_t)(end - at) >= wanted_size; at++) {
		at = memchr(at, *first, (size_t)(end - at) - wanted_size + 1);
		if (!at)
			return NULL;
		if (memcmp(at, wanted, wanted_size) == 0)
			return (void *)(uintptr_t)at;
	}
	return NULL;
}

/* Reads whole words up to the one with the end: they lie on one page with it. */
__attribute__((no_sanitize("address"))) size_t strlen(const char *text)
{
	const size_t ones = (size_t)-1 / 255;
	const char *at = text;
	for (; (uintptr_t)at % sizeof(size_t) != 0; at++)
		if (!*at)
			return (size_t)(at - text);
	for (;; at += sizeof(size_t)) {
		const size_t bytes = *(const aligned_word *)at;
		if (((bytes - ones) & ~bytes & ones << 7) != 0)
			break;
	}
	while (*at)
		at++;
	return (size_t)(at - text);
}

size_t strnlen(const char *text, size_t size)
{
	const char *end = memchr(text, 0, size);
	return end ? (size_t)(end - text) : size;
}

char *stpcpy(char *restrict to, const char *restrict from)
{
	const size_t size = strlen(from);
	memcpy(to, from, size + 1);
	return to + size;
}

char *strcpy(char *restrict to, const char *restrict from)
{
	stpcpy(to, from);
	return to;
}

char *stpncpy(char *restrict to, const char *restrict from, size_t size)
{
	const size_t used = strnlen(from, size);
	memcpy(to, from, used);
	memset(to + used, 0, size - used);
	return to + used;
}

char *strncpy(char *restrict to, const char *restrict from, size_t size)
{
	stpncpy(to, from, size);
	return to;
}

char *strcat(char *restrict to, const char *restrict from)
{
	strcpy(to + strlen(to), from);
	return to;
}

char *strncat(char *restrict to, const char *restrict from, size_t size)
{
	const size_t used = strnlen(from, size);
	char *end = to + strlen(to);
	memcpy(end, from, used);
	end[used] = 0;
	return to;
}

size_t strlcpy(char *restrict to, const char *restrict from, size_t room)
{
	const size_t size = strlen(from);
	if (room > 0) {
		const size_t used = size < room ? size : room - 1;
		memcpy(to, from, used);
		to[used] = 0;
	}
	return size;
}

size_t strlcat(char *restrict to, const char *restrict from, size_t room)
{
	const size_t used = strnlen(to, room);
	return used + strlcpy(to + used, from, room - used);
}

int strcmp(const char *a, const char *b)
{
	for (; *a && *a == *b; a++)
		b++;
	return (unsigned char)*a - (unsigned char)*b;
}

int strncmp(const char *a, const char *b, size_t size)
{
	for (; size > 0; size--, a++, b++)
		if (!*a || *a != *b)
			return (unsigned char)*a - (unsigned char)*b;
	return 0;
}

int strcoll(const char *a, const char *b)
{
	return strcmp(a, b);
}

size_t strxfrm(char *restrict to, const char *restrict from, size_t room)
{
	return strlcpy(to, from, room);
}

int strcasecmp(const char *a, const char *b)
{
	return strncasecmp(a, b, SIZE_MAX);
}

int strncasecmp(const char *a, const char *b, size_t size)
{
	for (; size > 0; size--, a++, b++) {
		const int difference = tolower((unsigned char)*a) - tolower((unsigned char)*b);
		if (!*a || difference != 0)
			return difference;
	}
	return 0;
}

char *strchrnul(const char *text, int c)
{
	while (*text && *text != (char)c)
		text++;
	return (char *)(uintptr_t)text;
}

char *strchr(const char *text, int c)
{
	char *at = strchrnul(text, c);
	return *at == (char)c ? at : NULL;
}

char *strrchr(const char *text, int c)
{
	return memrchr(text, c, strlen(text) + 1);
}

/* A set of characters, a bit each. */
struct set {
	uint32_t bits[8];
};

static struct set set_of(const char *text)
{
	struct set set = {{0}};
	for (; *text; text++)
		set.bits[(unsigned char)*text / 32] |= 1u << (unsigned char)*text % 32;
	return set;
}

static size_t span(const char *text, const struct set *set, unsigned int wanted)
{
	size_t size = 0;
	while (text[size] && (set->bits[(unsigned char)text[size] / 32] >> (unsigned char)text[size] % 32 & 1) == wanted)
		size++;
	return size;
}

size_t strspn(const char *text, const char *set)
{
	const struct set wanted = set_of(set);
	return span(text, &wanted, 1);
}

size_t strcspn(const char *text, const char *set)
{
	const struct set unwanted = set_of(set);
	return span(text, &unwanted, 0);
}

char *strpbrk(const char *text, const char *set)
{
	text += strcspn(text, set);
	return *text ? (char *)(uintptr_t)text : NULL;
}

char *strstr(const char *text, const char *wanted)
{
	return memmem(text, strlen(text), wanted, strlen(wanted));
}

char *strsep(char **restrict text, const char *restrict set)
{
	char *start = *text;
	if (!start)
		return NULL;
	char *end = start + strcspn(start, set);
	*text = *end ? end + 1 : NULL;
	*end = 0;
	return start;
}

char *strtok_r(char *restrict text, const char *restrict set, char **restrict next)
{
	char *start = text ? text : *next;
	if (!start)
		return NULL;
	start += strspn(start, set);
	*next = start;
	return *start ? strsep(next, set) : NULL;
}

char *strtok(char *restrict text, const char *restrict set)
{
	static char *next;
	return strtok_r(text, set, &next);
}

char *strndup(const char *text, size_t size)
{
	const size_t used = strnlen(text, size);
	char *copy = malloc(used + 1);
	if (!copy)
		return NULL;
	memcpy(copy, text, used);
	copy[used] = 0;
	return copy;
}

char *strdup(const char *text)
{
	return strndup(text, strlen(text));
}

int bcmp(const void *a, const void *b, size_t size)
{
	return memcmp(a, b, size);
}

void bcopy(const void *from, void *to, size_t size)
{
	memmove(to, from, size);
}

void bzero(void *to, size_t size)
{
	memset(to, 0, size);
}

int ffs(int value)
{
	return __builtin_ffs(value);
}

char *index(const char *text, int c)
{
	return strchr(text, c);
}

char *rindex(const char *text, int c)
{
	return strrchr(text, c);
}

char *strerror(int number)
{
	static const struct {
		int number;
		const char *text;
	} texts[] = {
		{0, "Success"},
		{EPERM, "Operation not permitted"},
		{ENOENT, "No such file or directory"},
		{EBADF, "Bad file descriptor"},
		{ENOMEM, "Cannot allocate memory"},
		{EINVAL, "Invalid argument"},
		{EDOM, "Numerical argument out of domain"},
		{ERANGE, "Numerical result out of range"},
		{ENOSYS, "Function not implemented"},
		{EOVERFLOW, "Value too large for defined data type"},
	};
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		if (texts[i].number == number)
			return (char *)(uintptr_t)texts[i].text;
	return (char *)(uintptr_t) "Unknown error";
}
