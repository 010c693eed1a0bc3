/* The TEE-SDK's services in a program of the host's own, for development: tee-sdk/svcnull.h. Blobs are not encrypted and say so. */
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include <tee-sdk/svcapi.h>
#include <tee-sdk/svcnull.h>

#include "../system.h"
#include "sha1.h"

enum { NV_SIZE = 32, REFERENCES = 16, SHORT_BUFFER = 5, REFUSED = 6 };

/* In front of what is "sealed"; as long as a real head, with the info or without. */
struct head {
	char warning[UTPM_SEAL_OVERHEAD - 1];
	uint8_t has_info;
	TPM_PCR_INFO info;
};
static const struct head EMPTY = {"This is not encrypted, and anybody may change it.", 0, {{0, {0}}, {{0}}, {{0}}}};

static TPM_DIGEST pcrs[TPM_PCR_NUM];
static uint8_t nv[NV_SIZE];
static void *state;
static size_t state_size;
static struct pal_lent references[REFERENCES];
static bool has_started;

static void extend(uint32_t index, const uint8_t *digest)
{
	uint8_t both[2 * TPM_HASH_SIZE];
	memcpy(both, pcrs[index].value, TPM_HASH_SIZE);
	memcpy(both + TPM_HASH_SIZE, digest, TPM_HASH_SIZE);
	__pal_sha1(both, sizeof both, pcrs[index].value);
}

void svc_null_reset(void)
{
	static const uint8_t no_measurement[TPM_HASH_SIZE];
	memset(pcrs, 0, sizeof pcrs);
	memset(nv, 0, sizeof nv);
	memset(references, 0, sizeof references);
	free(state);
	state = NULL;
	state_size = 0;
	extend(0, no_measurement);
	has_started = true;
}

static void start(void)
{
	if (!has_started)
		svc_null_reset();
}

bool svc_null_lend(uint32_t index, void *memory, uint64_t length, uint32_t access)
{
	start();
	if (index >= REFERENCES)
		return false;
	references[index] = (struct pal_lent){memory, length, access};
	return true;
}

int __pal_state_read(void *out, size_t *size)
{
	const size_t room = *size;
	*size = state_size;
	if (state_size > room)
		return SHORT_BUFFER;
	if (state_size > 0)
		memcpy(out, state, state_size);
	return UTPM_SUCCESS;
}

int __pal_state_write(const void *next, size_t size)
{
	void *copy = malloc(size);
	if (!copy)
		return UTPM_ERR;
	memcpy(copy, next, size);
	free(state);
	state = copy;
	state_size = size;
	return UTPM_SUCCESS;
}

bool __pal_lent(uint32_t index, struct pal_lent *lent)
{
	if (index >= REFERENCES || references[index].access == 0)
		return false;
	*lent = references[index];
	return true;
}

/* The TPM_PCR_COMPOSITE of a selection, and its SHA-1. */
static size_t composite(const TPM_PCR_SELECTION *selection, uint8_t out[sizeof(TPM_PCR_SELECTION) + 4 + sizeof pcrs],
			TPM_COMPOSITE_HASH *hash)
{
	uint8_t *at = out + sizeof *selection + 4;
	TPM_PCR_SELECTION copy = *selection;
	start();
	memcpy(out, selection, sizeof *selection);
	for (uint32_t i = 0; i < TPM_PCR_NUM; i++)
		if (utpm_pcr_is_selected(&copy, i)) {
			memcpy(at, pcrs[i].value, TPM_HASH_SIZE);
			at += TPM_HASH_SIZE;
		}
	const size_t values = (size_t)(at - out) - sizeof *selection - 4;
	const uint8_t length[4] = {0, 0, (uint8_t)(values >> 8), (uint8_t)values};
	memcpy(out + sizeof *selection, length, sizeof length);
	__pal_sha1(out, (size_t)(at - out), hash->value);
	return (size_t)(at - out);
}

static bool is_selecting(const TPM_PCR_SELECTION *selection)
{
	return selection->sizeOfSelect == 1 && selection->pcrSelect[0] != 0;
}

int svc_time_elapsed_us(uint64_t *epoch_nonce, uint64_t *us)
{
	static uint64_t epoch;
	struct timespec now;
	if (epoch == 0 && getrandom(&epoch, sizeof epoch, 0) != sizeof epoch)
		return UTPM_ERR_INSUFFICIENT_ENTROPY;
	clock_gettime(CLOCK_MONOTONIC, &now);
	if (epoch_nonce)
		*epoch_nonce = epoch;
	*us = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
	return UTPM_SUCCESS;
}

/* Whether `size` bytes fit; says how many there are. */
static bool fits(size_t *length, size_t size)
{
	const size_t room = *length;
	*length = size;
	return size <= room;
}

int svc_utpm_seal(TPM_PCR_INFO *pcrInfo, void *in, size_t in_len, void *out, size_t *out_len)
{
	struct head head = EMPTY;
	uint8_t values[sizeof(TPM_PCR_SELECTION) + 4 + sizeof pcrs];
	head.has_info = pcrInfo && is_selecting(&pcrInfo->pcrSelection);
	if (in_len > UINT32_MAX - sizeof head)
		return UTPM_ERR_BAD_PARAM;
	const size_t size = utpm_seal_output_size((unsigned int)in_len, head.has_info);
	if (!fits(out_len, size))
		return SHORT_BUFFER;
	if (head.has_info) {
		head.info = *pcrInfo;
		composite(&head.info.pcrSelection, values, &head.info.digestAtCreation);
	}
	memmove((uint8_t *)out + size - in_len, in, in_len);
	memcpy(out, &head, size - in_len);
	return UTPM_SUCCESS;
}

int svc_utpm_unseal(void *in, size_t in_len, void *out, size_t *out_len, void *digestAtCreation)
{
	struct head head = EMPTY;
	uint8_t values[sizeof(TPM_PCR_SELECTION) + 4 + sizeof pcrs];
	TPM_COMPOSITE_HASH now;
	if (in_len < UTPM_SEAL_OVERHEAD)
		return REFUSED;
	memcpy(&head, in, UTPM_SEAL_OVERHEAD);
	const size_t size = utpm_seal_output_size(0, head.has_info != 0);
	if (memcmp(head.warning, EMPTY.warning, sizeof head.warning) != 0 || in_len < size)
		return REFUSED;
	memcpy(&head, in, size);
	if (head.has_info) {
		composite(&head.info.pcrSelection, values, &now);
		if (memcmp(&now, &head.info.digestAtRelease, sizeof now) != 0)
			return REFUSED;
	}
	if (!fits(out_len, in_len - size))
		return SHORT_BUFFER;
	memmove(out, (uint8_t *)in + size, in_len - size);
	if (digestAtCreation)
		memcpy(digestAtCreation, &head.info.digestAtCreation, sizeof head.info.digestAtCreation);
	return UTPM_SUCCESS;
}

/* There is no key that could be trusted. */
int svc_utpm_quote(TPM_NONCE *nonce, TPM_PCR_SELECTION *tpmsel, uint8_t *sig, size_t *sigLen, uint8_t *pcrComposite,
		   size_t *pcrCompositeLen)
{
	(void)nonce, (void)tpmsel, (void)sig, (void)sigLen, (void)pcrComposite, (void)pcrCompositeLen;
	return UTPM_ERR;
}

int svc_utpm_id_getpub(uint8_t *N, size_t *out_len)
{
	(void)N, (void)out_len;
	return UTPM_ERR;
}

int svc_utpm_pcr_extend(uint32_t idx, uint8_t *meas)
{
	if (idx >= TPM_PCR_NUM)
		return UTPM_ERR_PCR_OUT_OF_RANGE;
	start();
	extend(idx, meas);
	return UTPM_SUCCESS;
}

int svc_utpm_pcr_read(uint32_t idx, uint8_t *val)
{
	if (idx >= TPM_PCR_NUM)
		return UTPM_ERR_PCR_OUT_OF_RANGE;
	start();
	memcpy(val, pcrs[idx].value, TPM_HASH_SIZE);
	return UTPM_SUCCESS;
}

int svc_utpm_rand(void *out, size_t *out_len)
{
	const size_t wanted = *out_len > MAX_TPM_RAND_DATA_LEN ? MAX_TPM_RAND_DATA_LEN : *out_len;
	const ssize_t got = getrandom(out, wanted, 0);
	*out_len = got < 0 ? 0 : (size_t)got;
	return got < 0 ? UTPM_ERR_INSUFFICIENT_ENTROPY : UTPM_SUCCESS;
}

int svc_utpm_rand_block(void *out, size_t out_len)
{
	for (size_t done = 0; done < out_len;) {
		size_t size = out_len - done;
		const int status = svc_utpm_rand((uint8_t *)out + done, &size);
		if (status != UTPM_SUCCESS)
			return status;
		done += size;
	}
	return UTPM_SUCCESS;
}

int svc_tpmnvram_getsize(size_t *size)
{
	*size = NV_SIZE;
	return UTPM_SUCCESS;
}

int svc_tpmnvram_readall(uint8_t *out)
{
	start();
	memcpy(out, nv, NV_SIZE);
	return UTPM_SUCCESS;
}

int svc_tpmnvram_writeall(uint8_t *in)
{
	start();
	memcpy(nv, in, NV_SIZE);
	return UTPM_SUCCESS;
}
