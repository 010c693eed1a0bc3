/*
 * From a PAL's entry and service calls on the engine kvm to those of a WebAssembly module and back. Addresses of the module are
 * offsets into its memory; each is checked against that memory before it becomes an address of the PAL.
 */
#ifndef CASEMATE_PAL_BRIDGE_H
#define CASEMATE_PAL_BRIDGE_H

#include <string.h>

#include "wasm-rt.h"

struct pal_buffer {
	uint32_t return_value, size, offset, size_used;
	unsigned char data[];
};

#define PAL_BAD_PARAM 1u

struct bridge {
	wasm_rt_memory_t *memory;
	uint64_t parameters[7];
	uint32_t count;
	bool bad;
};

static inline void bridge_value(struct bridge *b, uint32_t value)
{
	b->parameters[b->count++] = value;
}

/* The address of `size` bytes at `pointer`. */
static inline void bridge_bytes(struct bridge *b, uint32_t pointer, uint64_t size)
{
	uint32_t all = b->memory->size;
	if (pointer > all || size > all - pointer)
		b->bad = true;
	b->parameters[b->count++] = (uint64_t)(uintptr_t)(b->memory->data + pointer);
}

static inline void bridge_perhaps(struct bridge *b, uint32_t pointer, uint64_t size)
{
	if (pointer != 0)
		bridge_bytes(b, pointer, size);
	else
		bridge_value(b, 0);
}

/* A pointer, and a pointer to the capacity behind it. */
static inline void bridge_output(struct bridge *b, uint32_t pointer, uint32_t length)
{
	uint32_t capacity = 0, all = b->memory->size;
	if (length <= all && all - length >= 4)
		__builtin_memcpy(&capacity, b->memory->data + length, 4);
	bridge_bytes(b, pointer, capacity);
	bridge_bytes(b, length, 4);
}

/* As casemate-pal.h of @casemate/trustvisor has it: a write to port 0x54, parameters as in a system call, a seventh in r12. */
static inline uint32_t bridge_call(struct bridge *b, uint64_t number)
{
	const uint64_t *p = b->parameters;
	register uint64_t r10 __asm__("r10") = p[3];
	register uint64_t r8 __asm__("r8") = p[4];
	register uint64_t r9 __asm__("r9") = p[5];
	register uint64_t r12 __asm__("r12") = p[6];
	if (b->bad)
		return PAL_BAD_PARAM;
	__asm__ volatile("outb %%al, $0x54"
			 : "+a"(number)
			 : "D"(p[0]), "S"(p[1]), "d"(p[2]), "r"(r10), "r"(r8), "r"(r9), "r"(r12)
			 : "memory");
	return (uint32_t)number;
}

/* What the engine kvm and the service memory_lent say of a lent range. */
struct lent_memory {
	uint64_t address, length;
	uint32_t access, reserved;
};

#define LENT_READ 1u
#define LENT_WRITE 2u
#define LENT_MAX 64

/* Where lent ranges lie on this side, and where in the module's memory. */
struct lent_window {
	struct lent_memory outside[LENT_MAX], inside[LENT_MAX];
	uint32_t count;
};

static inline uint32_t ask_for_lent(uint32_t index, struct lent_memory *range, uint64_t number)
{
	struct bridge b = {.parameters = {index, (uint64_t)(uintptr_t)range}};
	return bridge_call(&b, number);
}

/* As the engine wasm does it: above the parameters, each on a multiple of 16, in memory that grows by what is missing and stays. */
static inline void lent_enter(struct lent_window *window, wasm_rt_memory_t *memory, uint64_t from, uint64_t number)
{
	for (window->count = 0; window->count < LENT_MAX; window->count++) {
		struct lent_memory *outside = &window->outside[window->count], *inside = &window->inside[window->count];
		if (ask_for_lent(window->count, outside, number) != 0)
			break;
		*inside = *outside;
		inside->address = from;
		from += (outside->length + 15) & ~15ull;
		while (from > memory->size) {
			if (memory->pages == memory->max_pages)
				wasm_rt_trap(WASM_RT_TRAP_OOB);
			memory->pages++;
			memory->size += 65536;
		}
		if (outside->access & LENT_READ)
			memcpy(memory->data + inside->address, (const void *)(uintptr_t)outside->address, outside->length);
	}
}

static inline void lent_leave(const struct lent_window *window, wasm_rt_memory_t *memory)
{
	for (uint32_t i = 0; i < window->count; i++) {
		const struct lent_memory *outside = &window->outside[i];
		unsigned char *inside = memory->data + window->inside[i].address;
		if (outside->access & LENT_WRITE)
			memcpy((void *)(uintptr_t)outside->address, inside, outside->length);
		memset(inside, 0, outside->length);
	}
}

/* The service memory_lent, answered with the places in the module's memory. */
static inline uint32_t lent_service(const struct lent_window *window, wasm_rt_memory_t *memory, uint32_t index, uint32_t info)
{
	uint32_t all = memory->size;
	if (index >= window->count || info > all || all - info < sizeof *window->inside)
		return PAL_BAD_PARAM;
	memcpy(memory->data + info, &window->inside[index], sizeof *window->inside);
	return 0;
}

/* The buffers as the engine wasm lays them out: behind the return code, as far from it as on this side. */
static inline uint32_t bridge_place(uint32_t base, const void *buffer, const uint32_t *rv)
{
	return base + (uint32_t)((const char *)buffer - (const char *)rv);
}

static inline void bridge_enter(wasm_rt_memory_t *memory, uint32_t base, const struct pal_buffer *in, const struct pal_buffer *out,
				const uint32_t *rv)
{
	memcpy(memory->data + bridge_place(base, in, rv), in, sizeof *in + in->size_used);
	memcpy(memory->data + bridge_place(base, out, rv), out, sizeof *out);
	memset(memory->data + base, 0, sizeof *rv);
}

/* An output that is longer than its capacity is refused by the engine, which sees it in the header. */
static inline void bridge_leave(const wasm_rt_memory_t *memory, uint32_t base, struct pal_buffer *out, uint32_t *rv)
{
	const struct pal_buffer *inside = (const struct pal_buffer *)(memory->data + bridge_place(base, out, rv));
	uint32_t length = inside->offset <= out->size ? inside->offset : 0;
	memcpy(out, inside, sizeof *out + length);
	memcpy(rv, memory->data + base, sizeof *rv);
}

#endif
