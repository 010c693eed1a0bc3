/*
 * What the C of wasm2c (WABT) expects of its runtime, for a PAL in a virtual machine: one module, one memory of a fixed size,
 * checked bounds, traps that are faults of the processor, no library.
 *
 * Serves two generations: 1.0.32, where types of functions are numbers (CASEMATE_TYPE_NUMBERS), and 1.0.36 and later, where
 * they are digests.
 */
#ifndef WASM_RT_H_
#define WASM_RT_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)
#define wasm_rt_memcpy __builtin_memcpy
#define wasm_rt_unreachable __builtin_unreachable

/* Each access is compared with the size of the memory; the stack ends in a guard page. */
#define WASM_RT_MEMCHECK_SIGNAL_HANDLER 0
#define WASM_RT_MEMCHECK_GUARD_PAGES 0
#define WASM_RT_USE_STACK_DEPTH_COUNT 0
#define WASM_RT_STACK_DEPTH_COUNT 0
#define WASM_RT_USE_SEGUE 0
#define WASM_RT_SANITY_CHECKS 0

typedef enum {
	WASM_RT_TRAP_NONE,
	WASM_RT_TRAP_OOB,
	WASM_RT_TRAP_INT_OVERFLOW,
	WASM_RT_TRAP_DIV_BY_ZERO,
	WASM_RT_TRAP_INVALID_CONVERSION,
	WASM_RT_TRAP_UNREACHABLE,
	WASM_RT_TRAP_CALL_INDIRECT,
	WASM_RT_TRAP_UNCAUGHT_EXCEPTION,
	WASM_RT_TRAP_UNALIGNED,
	WASM_RT_TRAP_NULL_REF,
	WASM_RT_TRAP_EXHAUSTION,
} wasm_rt_trap_t;

__attribute__((noreturn, cold)) void wasm_rt_trap(wasm_rt_trap_t trap);

typedef enum { WASM_RT_I32, WASM_RT_I64, WASM_RT_F32, WASM_RT_F64, WASM_RT_V128, WASM_RT_FUNCREF, WASM_RT_EXTERNREF } wasm_rt_type_t;

typedef void (*wasm_rt_function_ptr_t)(void);

#ifdef CASEMATE_TYPE_NUMBERS
typedef struct {
	uint32_t func_type;
	wasm_rt_function_ptr_t func;
	void *module_instance;
} wasm_rt_funcref_t;
/* The same number for the same signature: first the parameters, then the results. */
uint32_t wasm_rt_register_func_type(uint32_t parameters, uint32_t results, ...);
#else
typedef const char *wasm_rt_func_type_t;
typedef struct wasm_rt_tailcallee_t {
	void (*fn)(void **instance_ptr, void *tail_call_stack, struct wasm_rt_tailcallee_t *next);
} wasm_rt_tailcallee_t;
typedef struct {
	wasm_rt_func_type_t func_type;
	wasm_rt_function_ptr_t func;
	wasm_rt_tailcallee_t func_tailcallee;
	void *module_instance;
} wasm_rt_funcref_t;
#endif

typedef void *wasm_rt_externref_t;

static const wasm_rt_funcref_t wasm_rt_funcref_null_value __attribute__((unused));
static const wasm_rt_externref_t wasm_rt_externref_null_value __attribute__((unused));

typedef struct {
	uint8_t *data;
	uint32_t pages, max_pages;
	uint32_t size;
} wasm_rt_memory_t;

/* Only named by functions that nobody calls: the linker of PALs refuses shared memories. */
typedef wasm_rt_memory_t wasm_rt_shared_memory_t;

typedef struct {
	wasm_rt_funcref_t *data;
	uint32_t max_size, size;
} wasm_rt_funcref_table_t;

typedef struct {
	wasm_rt_externref_t *data;
	uint32_t max_size, size;
} wasm_rt_externref_table_t;

static inline bool wasm_rt_is_initialized(void)
{
	return true;
}

/* Pages behind the module's own, for what the caller lends. */
#ifndef CASEMATE_LENT_PAGES
#define CASEMATE_LENT_PAGES 0
#endif

/* Memory and tables are as large as they will ever be, so each is an array of its own, in BSS. */
#define wasm_rt_allocate_memory(memory, initial, ...)                                                                          \
	do {                                                                                                                   \
		static uint8_t pages_[((uint64_t)(initial) + CASEMATE_LENT_PAGES) * 65536] __attribute__((aligned(4096)));     \
		*(memory) = (wasm_rt_memory_t){.data = pages_, .pages = (initial),                                             \
					       .max_pages = (initial) + CASEMATE_LENT_PAGES, .size = (initial) * 65536u};      \
	} while (0)

#define CASEMATE_ALLOCATE_TABLE(table, type, elements)                                                                         \
	do {                                                                                                                   \
		static type elements_[(elements) + 1];                                                                         \
		(table)->data = elements_;                                                                                     \
		(table)->size = (table)->max_size = (elements);                                                                \
	} while (0)
#define wasm_rt_allocate_funcref_table(table, elements, ...) CASEMATE_ALLOCATE_TABLE(table, wasm_rt_funcref_t, elements)
#define wasm_rt_allocate_externref_table(table, elements, ...) CASEMATE_ALLOCATE_TABLE(table, wasm_rt_externref_t, elements)

#define wasm_rt_free_memory(memory) ((void)(memory))
#define wasm_rt_free_funcref_table(table) ((void)(table))
#define wasm_rt_free_externref_table(table) ((void)(table))

/* The linker of PALs has replaced every memory.grow and refuses every table.grow. */
static inline uint32_t wasm_rt_grow_memory(wasm_rt_memory_t *memory, uint32_t pages)
{
	return pages == 0 ? memory->pages : UINT32_MAX;
}

#endif
