/* Makes a secret of a form that can be looked for without knowing it: 16 random bytes, and the same bytes changed by a mask. */
#include "casemate-pal.h"

static unsigned char secret[32];

void pal(uint32_t command, struct pal_buffer *in, struct pal_buffer *out, uint32_t *rv)
{
	(void)command;
	*rv = utpm_rand(secret, 16);
	for (unsigned i = 0; i < 16; i++)
		secret[16 + i] = secret[i] ^ in->data[i];
	out->offset = 0;
}
