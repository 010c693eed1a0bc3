/* What a call by a lane may do: keep memory, print, use a uPCR, never end, trap, lie about its output, read what it is lent. */
#include "casemate-pal.h"

static uint32_t count;

void pal(uint32_t command, struct pal_buffer *in, struct pal_buffer *out, uint32_t *rv)
{
	switch (command) {
	case 0: /* echo and count */
		for (uint32_t i = 0; i < in->size_used; i++)
			out->data[i] = in->data[i];
		out->offset = in->size_used;
		*rv = ++count;
		return;
	case 1: /* as many texts as the first octet says */
		for (uint32_t i = 0; i < in->data[0]; i++) {
			char text = (char)('a' + i);
			print(&text, 1);
		}
		*rv = in->data[0];
		return;
	case 2:
		*rv = utpm_pcr_extend(3, in->data);
		return;
	case 3:
		*rv = utpm_pcr_read(3, out->data);
		out->offset = 32;
		return;
	case 4:
		for (volatile uint32_t forever = 1; forever;)
			count++;
		return;
	case 5:
		count = 1000;
		__builtin_trap();
	case 6:
		out->offset = 0xffffffffu;
		return;
	case 7: {
		struct pal_memory info;
		*rv = memory_lent(0, &info) == 0 ? *(volatile unsigned char *)(uintptr_t)info.address : 999;
		return;
	}
	}
	*rv = 0xffffffffu;
}
