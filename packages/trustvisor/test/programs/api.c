/* A PAL that uses every service once: one source for both engines. A command is a service; the input its arguments. */
#include "casemate-pal.h"

static unsigned char room[16384];

static void copy(void *to, const void *from, uint32_t size)
{
	for (uint32_t i = 0; i < size; i++)
		((unsigned char *)to)[i] = ((const unsigned char *)from)[i];
}

static uint32_t word(const unsigned char *at)
{
	uint32_t value;
	copy(&value, at, 4);
	return value;
}

/* Appends bytes to the output, a u32 of their length in front. */
static void give(struct pal_buffer *out, const void *data, uint32_t size)
{
	copy(out->data + out->offset, &size, 4);
	copy(out->data + out->offset + 4, data, size);
	out->offset += 4 + size;
}

void pal(uint32_t command, struct pal_buffer *in, struct pal_buffer *out, uint32_t *rv)
{
	const unsigned char *at = in->data;
	uint32_t size = in->size_used, first = sizeof room / 2, second = sizeof room / 2;
	unsigned char *half = room + sizeof room / 2, digest[32] = {0};
	struct pal_sealed_info info;
	uint64_t number = 0;
	switch (command) {
	case 0: /* parameters: the input backwards, and its sum */
		for (uint32_t i = 0; i < size; i++) {
			room[i] = at[size - 1 - i];
			*rv += at[i];
		}
		give(out, room, size);
		return;
	case 1: /* u32 index */
		*rv = utpm_pcr_read(word(at), digest);
		give(out, digest, 32);
		return;
	case 2: /* u32 index, digest */
		*rv = utpm_pcr_extend(word(at), at + 4);
		return;
	case 3: /* u32 size of policy, policy, data */
		first = sizeof room;
		*rv = utpm_seal(at + 4 + word(at), size - 4 - word(at), at + 4, word(at), room, &first);
		break;
	case 4: /* blob */
		*rv = utpm_unseal(at, size, room, &first, digest);
		if (*rv == 0) {
			give(out, room, first);
			give(out, digest, 32);
		}
		return;
	case 5: /* u32 mask, nonce */
		*rv = utpm_quote(at + 4, size - 4, word(at), room, &first, half, &second);
		if (*rv == 0) {
			give(out, room, first);
			give(out, half, second);
		}
		return;
	case 6: /* u32 length */
		first = word(at);
		*rv = utpm_rand(room, first);
		break;
	case 7:
		*rv = utpm_id_getpub(room, &first);
		break;
	case 8:
		*rv = time_elapsed(digest, &number);
		give(out, digest, 8);
		give(out, &number, 8);
		return;
	case 9:
		*rv = print((const char *)at, size);
		return;
	case 10: /* u32 index */
		*rv = tv_pcr_read(word(at), digest);
		give(out, digest, 20);
		return;
	case 11: /* u32 index, digest */
		*rv = tv_pcr_extend(word(at), at + 4);
		return;
	case 12: /* u32 size of info, info, data */
		first = sizeof room;
		*rv = tv_seal(at + 4 + word(at), size - 4 - word(at), at + 4, word(at), room, &first);
		break;
	case 13: /* blob */
		*rv = tv_unseal(at, size, room, &first, digest);
		if (*rv == 0) {
			give(out, room, first);
			give(out, digest, 20);
		}
		return;
	case 14: /* selection, nonce */
		*rv = tv_quote(at, 3, at + 3, room, &first, half, &second);
		if (*rv == 0) {
			give(out, room, first);
			give(out, half, second);
		}
		return;
	case 15:
		*rv = tv_id_getpub(room, &first);
		break;
	case 16:
		*rv = counter_read(&number);
		give(out, &number, 8);
		return;
	case 17:
		*rv = counter_increment(&number);
		give(out, &number, 8);
		return;
	case 18:
		*rv = tpmnvram_getsize(&first);
		give(out, &first, 4);
		return;
	case 19:
		*rv = tpmnvram_readall(digest);
		give(out, digest, 32);
		return;
	case 20:
		*rv = tpmnvram_writeall(at);
		return;
	case 21: /* policy, u32 size of extra, extra, data */
		first = sizeof room;
		second = word(at + 80);
		*rv = seal_data((const struct pal_seal_policy *)at, at + 84 + second, size - 84 - second, at + 84, second, room, &first);
		break;
	case 22: /* u32 size of extra, extra, blob */
		second = word(at);
		*rv = unseal_data(at + 4 + second, size - 4 - second, at + 4, second, room, &first, &info);
		if (*rv == 0) {
			give(out, room, first);
			give(out, &info, sizeof info);
		}
		return;
	case 23: /* seal and unseal within one call, and a buffer that is too small */
		first = 4;
		if (utpm_seal(at, size, 0, 0, room, &first) != PAL_SHORT_BUFFER || first > sizeof room / 2) {
			*rv = 1;
			return;
		}
		*rv = utpm_seal(at, size, 0, 0, room, &first);
		*rv = *rv ? *rv : utpm_unseal(room, first, half, &second, 0);
		if (*rv == 0)
			give(out, half, second);
		return;
	default:
		*rv = 0xffffffff;
		return;
	}
	if (*rv == 0)
		give(out, room, first);
}
