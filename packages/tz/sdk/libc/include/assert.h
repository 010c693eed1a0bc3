/* Assertions; C11 7.2. One that fails is printed and ends the call. */
#undef assert
#ifdef NDEBUG
#define assert(condition) ((void)0)
#else
#define assert(condition) ((condition) ? (void)0 : __assert_fail(#condition, __FILE__, __LINE__, __func__))
#endif

#ifndef _ASSERT_H
#define _ASSERT_H
#if !defined(__cplusplus) && (!defined(__STDC_VERSION__) || __STDC_VERSION__ < 202311L)
#define static_assert _Static_assert
#endif
#ifdef __cplusplus
extern "C"
#endif
void __assert_fail(const char *condition, const char *file, unsigned int line, const char *function) __attribute__((noreturn));
#endif
