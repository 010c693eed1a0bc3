/* A PAL that uses what it is lent, for the tests of both engines. */
#include "casemate-pal.h"

static uint64_t kept;

static unsigned char *at(const struct pal_memory *memory, uint64_t offset)
{
	return (unsigned char *)(uintptr_t)(memory->address + offset);
}

void pal(uint32_t command, struct pal_buffer *in, struct pal_buffer *out, uint32_t *rv)
{
	struct pal_memory first = {0}, second = {0};
	uint32_t status = memory_lent(0, &first);
	memory_lent(1, &second);
	switch (command) {
	case 0: { /* what there is */
		uint32_t count = 0;
		while (memory_lent(count, (struct pal_memory *)(out->data + 24 * count)) == PAL_SUCCESS)
			count++;
		out->offset = 24 * count;
		*rv = count;
		return;
	}
	case 1: /* sum of the bytes */
		for (uint64_t i = 0; i < first.length; i++)
			*rv += *at(&first, i);
		return;
	case 2: /* fill */
		for (uint64_t i = 0; i < first.length; i++)
			*at(&first, i) = in->data[0];
		*rv = status;
		return;
	case 3: /* the second is the first, each byte xor 1 */
		for (uint64_t i = 0; i < first.length && i < second.length; i++)
			*at(&second, i) = *at(&first, i) ^ 1;
		return;
	case 4: /* keep the address for later */
		kept = first.address;
		*rv = *(volatile unsigned char *)(uintptr_t)kept;
		return;
	case 5: /* and use it when it is lent no more */
		*rv = *(volatile unsigned char *)(uintptr_t)kept;
		return;
	case 6: /* the page before */
		*rv = *(volatile unsigned char *)(uintptr_t)((first.address & ~4095ull) - 1);
		return;
	case 7: /* the page behind */
		*rv = *(volatile unsigned char *)(uintptr_t)((first.address + first.length + 4095) & ~4095ull);
		return;
	case 8: /* a service writes there */
		*rv = utpm_rand(at(&first, 0), (uint32_t)first.length);
		return;
	case 9: /* one byte more than there is */
		*rv = utpm_rand(at(&first, 1), (uint32_t)first.length);
		return;
	case 10: /* a service reads there */
		*rv = print((const char *)at(&first, 0), (uint32_t)first.length);
		return;
	case 11: /* and ends */
		*at(&first, 0) = 9;
		__builtin_trap();
	case 12: /* code in what is lent */
		*at(&first, 0) = 0xc3;
		((void (*)(void))(uintptr_t)first.address)();
		return;
	}
	*rv = 0xffffffff;
}
