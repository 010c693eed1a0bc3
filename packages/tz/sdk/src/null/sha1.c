/* sha1.h. The whole message is there, so there is no state between calls. */
#include "sha1.h"

#include <string.h>

enum { BLOCK = 64 };

static uint32_t rotate(uint32_t word, int bits)
{
	return word << bits | word >> (32 - bits);
}

/* What differs between the four times twenty rounds. */
static uint32_t mix(int round, const uint32_t v[5])
{
	if (round < 20)
		return ((v[1] & v[2]) | (~v[1] & v[3])) + 0x5a827999u;
	if (round < 40)
		return (v[1] ^ v[2] ^ v[3]) + 0x6ed9eba1u;
	if (round < 60)
		return ((v[1] & v[2]) | (v[1] & v[3]) | (v[2] & v[3])) + 0x8f1bbcdcu;
	return (v[1] ^ v[2] ^ v[3]) + 0xca62c1d6u;
}

static void digest_block(uint32_t state[5], const uint8_t block[BLOCK])
{
	uint32_t words[80], v[5];
	for (int i = 0; i < 16; i++, block += 4)
		words[i] = (uint32_t)block[0] << 24 | (uint32_t)block[1] << 16 | (uint32_t)block[2] << 8 | block[3];
	for (int i = 16; i < 80; i++)
		words[i] = rotate(words[i - 3] ^ words[i - 8] ^ words[i - 14] ^ words[i - 16], 1);
	memcpy(v, state, sizeof v);
	for (int i = 0; i < 80; i++) {
		const uint32_t next = rotate(v[0], 5) + mix(i, v) + v[4] + words[i];
		v[4] = v[3], v[3] = v[2], v[2] = rotate(v[1], 30), v[1] = v[0], v[0] = next;
	}
	for (int i = 0; i < 5; i++)
		state[i] += v[i];
}

void __pal_sha1(const uint8_t *data, size_t size, uint8_t digest[SHA1_SIZE])
{
	uint32_t state[5] = {0x67452301u, 0xefcdab89u, 0x98badcfeu, 0x10325476u, 0xc3d2e1f0u};
	const uint64_t bits = (uint64_t)size * 8;
	for (; size >= BLOCK; size -= BLOCK, data += BLOCK)
		digest_block(state, data);
	uint8_t last[2 * BLOCK] = {0};
	const size_t end = size < BLOCK - 8 ? BLOCK : 2 * BLOCK;
	memcpy(last, data, size);
	last[size] = 0x80;
	for (size_t i = 0; i < 8; i++)
		last[end - 1 - i] = (uint8_t)(bits >> 8 * i);
	for (size_t i = 0; i < end; i += BLOCK)
		digest_block(state, last + i);
	for (int i = 0; i < SHA1_SIZE; i++)
		digest[i] = (uint8_t)(state[i / 4] >> (24 - 8 * (i % 4)));
}
