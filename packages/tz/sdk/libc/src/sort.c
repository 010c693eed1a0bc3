/* Sorting and searching; C11 7.22.5. Quicksort of three parts, which goes over to heapsort before it becomes slow. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef int (*comparison)(const void *, const void *);

struct items {
	size_t size;
	comparison compare;
};

/* Below this many insertion is faster. */
enum { FEW = 12 };

static void swap(unsigned char *a, unsigned char *b, size_t size)
{
	unsigned char kept[64];
	while (size > 0 && a != b) {
		const size_t piece = size < sizeof kept ? size : sizeof kept;
		memcpy(kept, a, piece);
		memcpy(a, b, piece);
		memcpy(b, kept, piece);
		a += piece, b += piece, size -= piece;
	}
}

static void sort_by_insertion(const struct items *items, unsigned char *at, size_t count)
{
	for (size_t i = 1; i < count; i++)
		for (unsigned char *item = at + i * items->size; item > at; item -= items->size) {
			if (items->compare(item - items->size, item) <= 0)
				break;
			swap(item - items->size, item, items->size);
		}
}

static void sift(const struct items *items, unsigned char *at, size_t root, size_t count)
{
	for (size_t child; root < count / 2; root = child) {
		child = 2 * root + 1;
		if (child + 1 < count && items->compare(at + child * items->size, at + (child + 1) * items->size) < 0)
			child++;
		if (items->compare(at + root * items->size, at + child * items->size) >= 0)
			return;
		swap(at + root * items->size, at + child * items->size, items->size);
	}
}

static void sort_by_heap(const struct items *items, unsigned char *at, size_t count)
{
	for (size_t root = count / 2; root-- > 0;)
		sift(items, at, root, count);
	for (size_t left = count; left-- > 1;) {
		swap(at, at + left * items->size, items->size);
		sift(items, at, 0, left);
	}
}

/* Puts the middle one of the first, the middle and the last in front. */
static void choose_pivot(const struct items *items, unsigned char *at, size_t count)
{
	unsigned char *middle = at + count / 2 * items->size, *last = at + (count - 1) * items->size;
	if (items->compare(middle, last) > 0)
		swap(middle, last, items->size);
	if (items->compare(at, last) > 0)
		swap(at, last, items->size);
	if (items->compare(at, middle) < 0)
		swap(at, middle, items->size);
}

static void sort(const struct items *items, unsigned char *at, size_t count, int depth)
{
	while (count > FEW && depth-- > 0) {
		choose_pivot(items, at, count);
		/* [at, less): smaller than the pivot; [less, i): equal to it, less being one of them; [more, end): larger. */
		size_t less = 0, more = count;
		for (size_t i = 1; i < more;) {
			unsigned char *item = at + i * items->size, *pivot = at + less * items->size;
			const int order = items->compare(item, pivot);
			if (order < 0) {
				swap(item, pivot, items->size);
				less++, i++;
			} else if (order > 0)
				swap(item, at + --more * items->size, items->size);
			else
				i++;
		}
		unsigned char *larger = at + more * items->size;
		const size_t larger_count = count - more;
		const int first_is_shorter = less < larger_count;
		sort(items, first_is_shorter ? at : larger, first_is_shorter ? less : larger_count, depth);
		at = first_is_shorter ? larger : at;
		count = first_is_shorter ? larger_count : less;
	}
	if (count > FEW)
		sort_by_heap(items, at, count);
	else
		sort_by_insertion(items, at, count);
}

void qsort(void *items, size_t count, size_t size, comparison compare)
{
	const struct items kind = {size, compare};
	if (count > 1 && size > 0)
		sort(&kind, items, count, 2 * (63 - __builtin_clzll(count)));
}

void *bsearch(const void *key, const void *items, size_t count, size_t size, comparison compare)
{
	const unsigned char *at = items;
	while (count > 0) {
		const unsigned char *middle = at + count / 2 * size;
		const int order = compare(key, middle);
		if (order == 0)
			return (void *)(uintptr_t)middle;
		if (order > 0) {
			at = middle + size;
			count--;
		}
		count /= 2;
	}
	return NULL;
}
