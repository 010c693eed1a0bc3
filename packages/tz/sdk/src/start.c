/*
 * What runs in the entry's place, and calls it: compiled for each PAL with -DPAL_ENTRY=name.
 *
 * Constructors run first, once. The reserved commands (sessions and properties, WIRE.md) do not reach a service that knows nothing of
 * them, as services written for the TEE-SDK: -DPAL_RESERVED_COMMANDS lets them through. What was printed is flushed at the end, and
 * exit ends the call.
 */
#if !defined(__wasm__)
#include <setjmp.h>
#endif
#include <stdio.h>

#include <tee-sdk/tzmarshal.h>

#include "system.h"

#ifndef PAL_ENTRY
#define PAL_ENTRY pal
#endif

#define FIRST_RESERVED UINT32_C(0xfffffffd)

void PAL_ENTRY(uint32_t command, tzi_encode_buffer_t *in, tzi_encode_buffer_t *out, tz_return_t *rv);

#if defined(__wasm__)
extern void __wasm_call_ctors(void);
#define RUN_CONSTRUCTORS() __wasm_call_ctors()
#define EXPORTED __attribute__((export_name("pal")))

_Noreturn void __pal_end(void)
{
	__builtin_trap();
}
#else
extern void (*const __preinit_array_start[])(void), (*const __preinit_array_end[])(void);
extern void (*const __init_array_start[])(void), (*const __init_array_end[])(void);
#define EXPORTED

static void run_constructors(void)
{
	for (void (*const *function)(void) = __preinit_array_start; function != __preinit_array_end; function++)
		(*function)();
	for (void (*const *function)(void) = __init_array_start; function != __init_array_end; function++)
		(*function)();
}
#define RUN_CONSTRUCTORS() run_constructors()

static jmp_buf end_of_call;

_Noreturn void __pal_end(void)
{
	longjmp(end_of_call, 1);
}
#endif

EXPORTED void __pal_start(uint32_t command, tzi_encode_buffer_t *in, tzi_encode_buffer_t *out, tz_return_t *rv);
EXPORTED void __pal_start(uint32_t command, tzi_encode_buffer_t *in, tzi_encode_buffer_t *out, tz_return_t *rv)
{
	static bool has_started;
#if !defined(PAL_RESERVED_COMMANDS)
	if (command >= FIRST_RESERVED) {
		*rv = TZ_ERROR_NOT_IMPLEMENTED;
		return;
	}
#endif
	__pal_flushes = 1;
#if !defined(__wasm__)
	if (setjmp(end_of_call)) {
		*rv = TZ_ERROR_GENERIC;
		return;
	}
#endif
	if (!has_started) {
		has_started = true;
		RUN_CONSTRUCTORS();
	}
	PAL_ENTRY(command, in, out, rv);
	fflush(NULL);
}
