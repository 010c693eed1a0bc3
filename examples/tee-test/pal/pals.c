/* Every service of TrustVisor, by the TEE-SDK's documented interface alone: this compiles against the TEE-SDK too. */
#include "pals.h"

#include <stdbool.h>

#include <tee-sdk/svcapi.h>
#include <trustvisor/tv_utpm.h>

/* A service's result as that of the TZ API. */
static tz_return_t result_of(int error)
{
	return error ? TZ_ERROR_GENERIC : TZ_SUCCESS;
}

static tz_return_t add_one(tzi_encode_buffer_t *in, tzi_encode_buffer_t *out)
{
	uint32_t number;
	const tz_return_t error = TZIDecodeBufF(in, "%" TZI_DU32, &number);
	return error ? error : TZIEncodeBufF(out, "%" TZI_EU32, number + 1);
}

static tz_return_t seal(tzi_encode_buffer_t *in, tzi_encode_buffer_t *out)
{
	TPM_PCR_INFO *info;
	uint8_t *data, *blob;
	uint32_t info_length, length;
	tz_return_t error;
	if ((error = TZIDecodeBufF(in, "%" TZI_DARRSPC "%" TZI_DARRSPC, &info, &info_length, &data, &length)))
		return error;
	if (info_length != sizeof *info)
		return TZ_ERROR_ENCODE_FORMAT;
	size_t room = utpm_seal_output_size(length, true);
	if ((error = TZIEncodeBufF(out, "%" TZI_EARRSPC, &blob, (uint32_t)room)))
		return error;
	if (svc_utpm_seal(info, data, length, blob, &room))
		return TZ_ERROR_GENERIC;
	return TZIEncodeBufF(out, "%" TZI_EU32, (uint32_t)room);
}

static tz_return_t unseal(tzi_encode_buffer_t *in, tzi_encode_buffer_t *out)
{
	uint8_t *blob, *data, *digest_at_creation;
	uint32_t length;
	tz_return_t error;
	if ((error = TZIDecodeBufF(in, "%" TZI_DARRSPC, &blob, &length)))
		return error;
	/* What was sealed is shorter than the blob. */
	if ((error = TZIEncodeBufF(out, "%" TZI_EARRSPC "%" TZI_EARRSPC, &data, length, &digest_at_creation, (uint32_t)TPM_HASH_SIZE)))
		return error;
	size_t room = length;
	if (svc_utpm_unseal(blob, length, data, &room, digest_at_creation))
		return TZ_ERROR_GENERIC;
	return TZIEncodeBufF(out, "%" TZI_EU32, (uint32_t)room);
}

static tz_return_t quote(tzi_encode_buffer_t *in, tzi_encode_buffer_t *out)
{
	TPM_NONCE *nonce;
	TPM_PCR_SELECTION *selection;
	uint8_t *signature, *composite;
	uint32_t nonce_length, selection_length;
	size_t signature_room = TPM_RSA_KEY_LEN;
	size_t composite_room = sizeof *selection + sizeof(uint32_t) + TPM_PCR_NUM * TPM_HASH_SIZE;
	tz_return_t error;
	if ((error = TZIDecodeBufF(in, "%" TZI_DARRSPC "%" TZI_DARRSPC, &nonce, &nonce_length, &selection, &selection_length)))
		return error;
	if (nonce_length != sizeof *nonce || selection_length != sizeof *selection)
		return TZ_ERROR_ENCODE_FORMAT;
	if ((error = TZIEncodeBufF(out, "%" TZI_EARRSPC "%" TZI_EARRSPC, &signature, (uint32_t)signature_room, &composite,
				   (uint32_t)composite_room)))
		return error;
	if (svc_utpm_quote(nonce, selection, signature, &signature_room, composite, &composite_room))
		return TZ_ERROR_GENERIC;
	return TZIEncodeBufF(out, "%" TZI_EU32, (uint32_t)signature_room);
}

static tz_return_t id_getpub(tzi_encode_buffer_t *out)
{
	uint8_t *key;
	size_t room = TPM_RSA_KEY_LEN + 100;
	const tz_return_t error = TZIEncodeBufF(out, "%" TZI_EARRSPC, &key, (uint32_t)room);
	if (error)
		return error;
	if (svc_utpm_id_getpub(key, &room))
		return TZ_ERROR_GENERIC;
	return TZIEncodeBufF(out, "%" TZI_EU32, (uint32_t)room);
}

static tz_return_t pcr_read(tzi_encode_buffer_t *in, tzi_encode_buffer_t *out)
{
	uint32_t index;
	uint8_t *value;
	tz_return_t error;
	if ((error = TZIDecodeBufF(in, "%" TZI_DU32, &index)))
		return error;
	if ((error = TZIEncodeBufF(out, "%" TZI_EARRSPC, &value, (uint32_t)TPM_HASH_SIZE)))
		return error;
	return result_of(svc_utpm_pcr_read(index, value));
}

static tz_return_t pcr_extend(tzi_encode_buffer_t *in)
{
	uint32_t index, length;
	uint8_t *measurement;
	const tz_return_t error = TZIDecodeBufF(in, "%" TZI_DU32 "%" TZI_DARRSPC, &index, &measurement, &length);
	if (error || length != TPM_HASH_SIZE)
		return error ? error : TZ_ERROR_GENERIC;
	return result_of(svc_utpm_pcr_extend(index, measurement));
}

static tz_return_t random_bytes(tzi_encode_buffer_t *in, tzi_encode_buffer_t *out)
{
	uint32_t length;
	uint8_t *bytes;
	tz_return_t error;
	if ((error = TZIDecodeBufF(in, "%" TZI_DU32, &length)) || (error = TZIEncodeBufF(out, "%" TZI_EARRSPC, &bytes, length)))
		return error;
	return result_of(svc_utpm_rand_block(bytes, length));
}

/* When the clock was started, and which clock it was. It is kept between calls, as all of the PAL's memory. */
static struct {
	uint64_t epoch, time;
	bool is_running;
} start;

static tz_return_t time_init(void)
{
	start.is_running = svc_time_elapsed_us(&start.epoch, &start.time) == 0;
	return result_of(!start.is_running);
}

static tz_return_t time_elapsed(tzi_encode_buffer_t *out)
{
	uint64_t epoch, time;
	if (!start.is_running || svc_time_elapsed_us(&epoch, &time) || epoch != start.epoch)
		return TZ_ERROR_GENERIC;
	time -= start.time;
	return TZIEncodeBufF(out, "%" TZI_EU32 "%" TZI_EU32, (uint32_t)(time >> 32), (uint32_t)time);
}

static tz_return_t nv_rollback(tzi_encode_buffer_t *in, tzi_encode_buffer_t *out)
{
	uint8_t *new_value, *old_value;
	uint32_t length;
	size_t size;
	tz_return_t error;
	if ((error = TZIDecodeBufF(in, "%" TZI_DARRSPC, &new_value, &length)))
		return error;
	if (svc_tpmnvram_getsize(&size) || size != length)
		return TZ_ERROR_GENERIC;
	if ((error = TZIEncodeBufF(out, "%" TZI_EARRSPC, &old_value, length)))
		return error;
	return result_of(svc_tpmnvram_readall(old_value) || svc_tpmnvram_writeall(new_value));
}

void pals(uint32_t uiCommand, tzi_encode_buffer_t *psInBuf, tzi_encode_buffer_t *psOutBuf, tz_return_t *puiRv)
{
	switch (uiCommand) {
	case PAL_WITHOUTPARAM:
		*puiRv = TZ_SUCCESS;
		break;
	case PAL_PARAM:
		*puiRv = add_one(psInBuf, psOutBuf);
		break;
	case PAL_SEAL:
		*puiRv = seal(psInBuf, psOutBuf);
		break;
	case PAL_UNSEAL:
		*puiRv = unseal(psInBuf, psOutBuf);
		break;
	case PAL_QUOTE:
		*puiRv = quote(psInBuf, psOutBuf);
		break;
	case PAL_ID_GETPUB:
		*puiRv = id_getpub(psOutBuf);
		break;
	case PAL_PCR_READ:
		*puiRv = pcr_read(psInBuf, psOutBuf);
		break;
	case PAL_PCR_EXTEND:
		*puiRv = pcr_extend(psInBuf);
		break;
	case PAL_RAND:
		*puiRv = random_bytes(psInBuf, psOutBuf);
		break;
	case PAL_TIME_INIT:
		*puiRv = time_init();
		break;
	case PAL_TIME_ELAPSED:
		*puiRv = time_elapsed(psOutBuf);
		break;
	case PAL_NV_ROLLBACK:
		*puiRv = nv_rollback(psInBuf, psOutBuf);
		break;
	default:
		*puiRv = TZ_ERROR_NOT_IMPLEMENTED;
	}
}
