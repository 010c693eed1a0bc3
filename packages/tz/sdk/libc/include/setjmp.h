/* Jumps out of nested calls; C11 7.13. */
#ifndef _SETJMP_H
#define _SETJMP_H

#if defined(__wasm__)
#error "setjmp.h: WebAssembly cannot jump out of nested calls; write what needs it for the engine kvm"
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* What a call preserves: rbx, rbp, r12 to r15, rsp, rip, and the modes of SSE and x87. */
typedef unsigned long jmp_buf[9];

int setjmp(jmp_buf environment) __attribute__((returns_twice));
void longjmp(jmp_buf environment, int value) __attribute__((noreturn));
#define setjmp setjmp
#define _setjmp setjmp
#define _longjmp longjmp

#ifdef __cplusplus
}
#endif

#endif
