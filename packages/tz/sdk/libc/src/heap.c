/*
 * The heap: blocks with their size and that of the block in front, free ones in lists by size, neighbours merged at once.
 *
 * Sizes are multiples of 16. There is a list for each size below 512 bytes and one for each doubling above; a bit for each list
 * says whether it is empty. What is freed twice, or was never given out, ends the call.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/system.h"

enum { UNIT = 16, EXACT_LISTS = 32, LISTS = 64, GROWTH = 65536 };

/* In front of what is given out. `size` counts what follows; its lowest bit says that it is in use. */
struct block {
	size_t size, before;
#if __SIZEOF_SIZE_T__ == 4
	size_t padding[2];
#endif
};

/* What a free block has behind its head. */
struct links {
	struct block *next, *previous;
};

static struct block *lists[LISTS];
static uint64_t filled;
/* The head behind the last block: always in use, of size 0. */
static struct block *end;

static size_t size_of(const struct block *block)
{
	return block->size & ~(size_t)1;
}

static int is_used(const struct block *block)
{
	return (int)(block->size & 1);
}

static struct links *links_of(struct block *block)
{
	return (struct links *)(block + 1);
}

static struct block *after(struct block *block)
{
	return (struct block *)((unsigned char *)(block + 1) + size_of(block));
}

static struct block *before(struct block *block)
{
	return (struct block *)((unsigned char *)block - block->before) - 1;
}

static int list_of(size_t size)
{
	if (size < (size_t)UNIT * EXACT_LISTS)
		return (int)(size / UNIT);
	const int doubling = 63 - __builtin_clzll(size) - 9; /* 512 bytes are 0 */
	return doubling < LISTS - EXACT_LISTS ? EXACT_LISTS + doubling : LISTS - 1;
}

static void set_size(struct block *block, size_t size, int used)
{
	block->size = size | (size_t)used;
	after(block)->before = size;
}

static void put_in_list(struct block *block)
{
	const int list = list_of(size_of(block));
	*links_of(block) = (struct links){lists[list], NULL};
	if (lists[list])
		links_of(lists[list])->previous = block;
	lists[list] = block;
	filled |= UINT64_C(1) << list;
}

static void take_from_list(struct block *block)
{
	const int list = list_of(size_of(block));
	const struct links links = *links_of(block);
	if (links.next)
		links_of(links.next)->previous = links.previous;
	if (links.previous)
		links_of(links.previous)->next = links.next;
	else
		lists[list] = links.next;
	if (!lists[list])
		filled &= ~(UINT64_C(1) << list);
}

/* Makes a block free, in one with its neighbours. */
static void release(struct block *block)
{
	size_t size = size_of(block);
	struct block *next = after(block);
	if (!is_used(next)) {
		take_from_list(next);
		size += sizeof *next + size_of(next);
	}
	if (block->before != 0 && !is_used(before(block))) {
		block = before(block);
		take_from_list(block);
		size += sizeof *block + size_of(block);
	}
	set_size(block, size, 0);
	put_in_list(block);
}

/* Gives back what a block in use has beyond `size`. */
static void shrink(struct block *block, size_t size)
{
	const size_t rest = size_of(block) - size;
	if (rest < sizeof *block + UNIT)
		return;
	set_size(block, size, 1);
	struct block *tail = after(block);
	tail->size = 0;
	set_size(tail, rest - sizeof *tail, 1);
	release(tail);
}

/* More memory, as one free block; false where there is none. */
static int grow(size_t size)
{
	const size_t heads = 2 * sizeof(struct block);
	size_t bytes = (size + heads + GROWTH - 1) & ~(size_t)(GROWTH - 1);
	unsigned char *memory = __pal_more_memory(bytes);
	if (!memory) {
		bytes = size + heads;
		memory = __pal_more_memory(bytes);
	}
	if (!memory)
		return 0;
	struct block *block = (struct block *)memory;
	if (end && (unsigned char *)(end + 1) == memory)
		block = end;
	else
		block->before = 0;
	end = (struct block *)(memory + bytes) - 1;
	end->size = 1;
	set_size(block, (size_t)((unsigned char *)end - (unsigned char *)(block + 1)), 1);
	release(block);
	return 1;
}

static struct block *find(size_t size)
{
	const int list = list_of(size);
	for (struct block *block = lists[list]; block; block = links_of(block)->next)
		if (size_of(block) >= size)
			return block;
	const uint64_t larger = list + 1 < LISTS ? filled >> (list + 1) << (list + 1) : 0;
	return larger ? lists[__builtin_ctzll(larger)] : NULL;
}

/* Bytes of a block for `size`; 0 for more than there can be. */
static size_t block_size(size_t size)
{
	if (size > PTRDIFF_MAX - GROWTH - 4 * UNIT)
		return 0;
	return size < UNIT ? UNIT : (size + UNIT - 1) & ~(size_t)(UNIT - 1);
}

/* A block in use of `size` bytes, which are those of a block, or more. */
static struct block *allocate(size_t size)
{
	struct block *block = size ? find(size) : NULL;
	if (!block && size && grow(size))
		block = find(size);
	if (!block) {
		errno = ENOMEM;
		return NULL;
	}
	take_from_list(block);
	set_size(block, size_of(block), 1);
	shrink(block, size);
	return block;
}

void *malloc(size_t size)
{
	struct block *block = allocate(block_size(size));
	return block ? block + 1 : NULL;
}

static struct block *block_of(void *memory)
{
	struct block *block = (struct block *)memory - 1;
	if ((uintptr_t)memory % UNIT != 0 || !is_used(block) || after(block)->before != size_of(block))
		abort();
	return block;
}

void free(void *memory)
{
	if (memory)
		release(block_of(memory));
}

size_t malloc_usable_size(void *memory)
{
	return memory ? size_of(block_of(memory)) : 0;
}

void *calloc(size_t count, size_t size)
{
	size_t bytes;
	if (__builtin_mul_overflow(count, size, &bytes)) {
		errno = ENOMEM;
		return NULL;
	}
	void *memory = malloc(bytes);
	return memory ? memset(memory, 0, bytes) : NULL;
}

/* Whether the block could be made larger where it is. */
static int extend(struct block *block, size_t size)
{
	struct block *next = after(block);
	const size_t both = size_of(block) + sizeof *next + size_of(next);
	if (is_used(next) || both < size)
		return 0;
	take_from_list(next);
	set_size(block, both, 1);
	return 1;
}

void *realloc(void *memory, size_t size)
{
	if (!memory)
		return malloc(size);
	struct block *block = block_of(memory);
	const size_t wanted = block_size(size);
	if (wanted && (size_of(block) >= wanted || extend(block, wanted))) {
		shrink(block, wanted);
		return memory;
	}
	void *moved = malloc(size);
	if (!moved)
		return NULL;
	memcpy(moved, memory, size_of(block));
	free(memory);
	return moved;
}

void *reallocarray(void *memory, size_t count, size_t size)
{
	size_t bytes;
	if (!__builtin_mul_overflow(count, size, &bytes))
		return realloc(memory, bytes);
	errno = ENOMEM;
	return NULL;
}

/* The part of `block` that begins at a multiple of `alignment`; what is in front of it is given back. */
static struct block *align(struct block *block, size_t alignment)
{
	const uintptr_t start = (uintptr_t)(block + 1);
	if (start % alignment == 0)
		return block;
	const size_t front = ((start + sizeof *block + UNIT + alignment - 1) & ~(uintptr_t)(alignment - 1)) - start - sizeof *block;
	const size_t rest = size_of(block) - front - sizeof *block;
	set_size(block, front, 1);
	struct block *moved = after(block);
	moved->size = 0;
	set_size(moved, rest, 1);
	release(block);
	return moved;
}

void *aligned_alloc(size_t alignment, size_t size)
{
	const size_t wanted = block_size(size), room = alignment + sizeof(struct block) + UNIT;
	if (alignment == 0 || (alignment & (alignment - 1)) != 0) {
		errno = EINVAL;
		return NULL;
	}
	if (alignment <= UNIT)
		return malloc(size);
	struct block *block = allocate(wanted && alignment < PTRDIFF_MAX / 2 ? block_size(wanted + room) : 0);
	if (!block)
		return NULL;
	block = align(block, alignment);
	shrink(block, wanted);
	return block + 1;
}

int posix_memalign(void **memory, size_t alignment, size_t size)
{
	if (alignment < sizeof(void *) || (alignment & (alignment - 1)) != 0)
		return EINVAL;
	void *at = aligned_alloc(alignment, size);
	if (!at)
		return ENOMEM;
	*memory = at;
	return 0;
}
