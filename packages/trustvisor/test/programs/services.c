/* A PAL that does what its command says, for the tests of both engines. */
#include "casemate-pal.h"

static uint32_t calls;
static volatile int zero;
static const unsigned char constant[8] = {1, 2, 3};

static int overflow(int depth)
{
	volatile char room[512];
	room[0] = (char)depth;
	return overflow(depth + 1) + room[0];
}

static void copy(unsigned char *to, const unsigned char *from, uint32_t size)
{
	for (uint32_t i = 0; i < size; i++)
		to[i] = from[i];
}

void pal(uint32_t command, struct pal_buffer *in, struct pal_buffer *out, uint32_t *rv)
{
	unsigned char digest[32] = {0};
	uint32_t size = out->size, size2 = 0;
	switch (command) {
	case 0: /* echo and count */
		copy(out->data, in->data, in->size_used);
		out->offset = in->size_used;
		*rv = ++calls;
		return;
	case 1:
		*rv = utpm_pcr_read(in->data[0], out->data);
		out->offset = 32;
		return;
	case 2:
		copy(digest, in->data + 1, 32);
		*rv = utpm_pcr_extend(in->data[0], digest);
		return;
	case 3:
		*rv = utpm_seal(in->data, in->size_used, 0, 0, out->data, &size);
		out->offset = size;
		return;
	case 4:
		*rv = utpm_unseal(in->data, in->size_used, out->data, &size, 0);
		out->offset = size;
		return;
	case 5:
		size = 512, size2 = 512;
		*rv = utpm_quote(in->data, in->size_used, 1, out->data + 4, &size, out->data + 516, &size2);
		copy(out->data, (unsigned char *)&size, 4);
		out->offset = 516 + size2;
		return;
	case 6:
		*rv = utpm_rand(out->data, 64);
		out->offset = 64;
		return;
	case 7:
		*rv = utpm_id_getpub(out->data, &size);
		out->offset = size;
		return;
	case 8:
		*rv = time_elapsed(0, (uint64_t *)out->data);
		out->offset = 8;
		return;
	case 9:
		*rv = print("hello", 5);
		return;
	case 10: { /* a counter in the replay-protected state */
		uint32_t count = 0;
		size = 4;
		state_read(&count, &size);
		count += in->data[0];
		*rv = state_write(&count, 4) ? 0 : count;
		return;
	}
	case 20: /* a size that does not fit in any section */
		*rv = utpm_rand(out->data, 0xffffff);
		return;
	case 21:
		*rv = utpm_rand((void *)0x1000, 16);
		return;
	case 22:
		out->offset = 0x7fffffff;
		return;
	case 30:
		*(volatile int *)0x12345678 = 1;
		return;
	case 31:
		*rv = (uint32_t)overflow(0);
		return;
	case 32:
		__builtin_trap();
	case 33:
		*rv = (uint32_t)(7 / zero);
		return;
	case 34:
		for (;;)
			zero = 0;
#ifdef __x86_64__
	case 40:
		*(volatile unsigned char *)constant = 9;
		return;
	case 41:
		*(volatile unsigned char *)(uintptr_t)pal = 0x90;
		return;
	case 42: { /* a `ret` in data */
		static unsigned char code[16] = {0xc3};
		((void (*)(void))code)();
		return;
	}
	case 43:
		__asm__ volatile("syscall");
		return;
	case 44:
		__asm__ volatile("hlt");
		return;
	case 45:
		__asm__ volatile("outb %%al, $0x80" ::"a"(1));
		return;
	case 46:
		__asm__ volatile("outb %%al, $0x54" ::"a"(99));
		return;
	case 47: {
		double x = in->data[0];
		uint32_t y;
		__asm__("sqrtsd %1, %1\n cvttsd2si %1, %0" : "=r"(y) : "x"(x));
		*rv = y;
		return;
	}
	case 48:
		__asm__ volatile("mov %%cr3, %%rax" ::: "rax");
		return;
	case 49: /* our own pages in its address space */
		*rv = *(volatile uint32_t *)0x3f8000;
		return;
#endif
	}
	*rv = 0xffffffff;
}
