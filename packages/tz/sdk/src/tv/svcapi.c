/* The TEE-SDK's services in a PAL: lengths of the language to lengths of the service, each 32 bits. */
#include <casemate-pal.h>
#include <tee-sdk/svcapi.h>

/* A length that a service takes and gives back. */
struct length {
	size_t *caller;
	uint32_t value;
};

static struct length length_of(size_t *caller)
{
	const size_t room = caller ? *caller : 0;
	return (struct length){caller, room > UINT32_MAX ? UINT32_MAX : (uint32_t)room};
}

static int finish(uint32_t status, struct length length)
{
	if (length.caller && (status == PAL_SUCCESS || status == PAL_SHORT_BUFFER))
		*length.caller = length.value;
	return (int)status;
}

int svc_time_elapsed_us(uint64_t *epoch_nonce, uint64_t *us)
{
	return (int)time_elapsed(epoch_nonce, us);
}

int svc_utpm_seal(TPM_PCR_INFO *pcrInfo, void *in, size_t in_len, void *out, size_t *out_len)
{
	if (in_len > UINT32_MAX)
		return PAL_BAD_PARAM;
	struct length length = length_of(out_len);
	const uint32_t info = pcrInfo ? sizeof *pcrInfo : 0;
	return finish(tv_seal(in, (uint32_t)in_len, pcrInfo, info, out, &length.value), length);
}

int svc_utpm_unseal(void *in, size_t in_len, void *out, size_t *out_len, void *digestAtCreation)
{
	if (in_len > UINT32_MAX)
		return PAL_BAD_PARAM;
	struct length length = length_of(out_len);
	TPM_COMPOSITE_HASH unwanted;
	void *creation = digestAtCreation ? digestAtCreation : &unwanted;
	return finish(tv_unseal(in, (uint32_t)in_len, out, &length.value, creation), length);
}

int svc_utpm_quote(TPM_NONCE *nonce, TPM_PCR_SELECTION *tpmsel, uint8_t *sig, size_t *sigLen, uint8_t *pcrComposite,
		   size_t *pcrCompositeLen)
{
	struct length signature = length_of(sigLen), composite = length_of(pcrCompositeLen);
	const uint32_t status = tv_quote(tpmsel, sizeof *tpmsel, nonce, sig, &signature.value, pcrComposite, &composite.value);
	finish(status, signature);
	return finish(status, composite);
}

int svc_utpm_id_getpub(uint8_t *N, size_t *out_len)
{
	struct length length = length_of(out_len);
	return finish(tv_id_getpub(N, &length.value), length);
}

int svc_utpm_pcr_extend(uint32_t idx, uint8_t *meas)
{
	return (int)tv_pcr_extend(idx, meas);
}

int svc_utpm_pcr_read(uint32_t idx, uint8_t *val)
{
	return (int)tv_pcr_read(idx, val);
}

int svc_utpm_rand(void *out, size_t *out_len)
{
	const uint32_t wanted = *out_len > MAX_TPM_RAND_DATA_LEN ? MAX_TPM_RAND_DATA_LEN : (uint32_t)*out_len;
	const uint32_t status = utpm_rand(out, wanted);
	*out_len = status == PAL_SUCCESS ? wanted : 0;
	return (int)status;
}

int svc_utpm_rand_block(void *out, size_t out_len)
{
	for (size_t done = 0; done < out_len;) {
		size_t size = out_len - done;
		const int status = svc_utpm_rand((uint8_t *)out + done, &size);
		if (status != 0)
			return status;
		done += size;
	}
	return 0;
}

int svc_tpmnvram_getsize(size_t *size)
{
	uint32_t bytes = 0;
	const uint32_t status = tpmnvram_getsize(&bytes);
	*size = bytes;
	return (int)status;
}

int svc_tpmnvram_readall(uint8_t *out)
{
	return (int)tpmnvram_readall(out);
}

int svc_tpmnvram_writeall(uint8_t *in)
{
	return (int)tpmnvram_writeall(in);
}
