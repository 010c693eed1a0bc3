/* Calls the PAL of keys.c that is linked in: `run-keys DIGEST PEER`, both hexadecimal, prints the public keys, a signature and a shared secret. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

void pal(uint32_t command, void *in, void *out, uint32_t *rv);

static void call(uint32_t command, const char *input)
{
	static uint32_t in[4 + 1024], out[4 + 1024];
	uint32_t rv = 99, length = (uint32_t)strlen(input) / 2;
	memset(out, 0, sizeof out);
	for (uint32_t i = 0; i < length; i++)
		sscanf(input + 2 * i, "%2hhx", (unsigned char *)(in + 4) + i);
	in[1] = in[3] = length;
	out[1] = sizeof out - 16;
	pal(command, in, out, &rv);
	printf("%u ", rv);
	for (uint32_t i = 0; i < out[2]; i++)
		printf("%02x", ((unsigned char *)(out + 4))[i]);
	printf("\n");
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	call(0, "");
	call(1, argv[1]);
	call(2, argv[2]);
	return 0;
}
