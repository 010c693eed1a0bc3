/* What a classic PAL has in place of start code, and of what @casemate/pal-linker sets aside: a heap of its own, and an end. */
#ifndef PAL_HEAP_BYTES
#define PAL_HEAP_BYTES 1048576
#endif
#define PAL_TEXT_OF(value) #value
#define PAL_TEXT(value) PAL_TEXT_OF(value)

__asm__(".bss\n"
	".balign 16\n"
	".globl __pal_heap_start\n"
	"__pal_heap_start: .zero " PAL_TEXT(PAL_HEAP_BYTES) "\n"
	".globl __pal_heap_end\n"
	"__pal_heap_end:\n"
	".text\n");

_Noreturn void __pal_end(void);
_Noreturn void __pal_end(void)
{
	__builtin_trap();
}
