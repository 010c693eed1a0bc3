/* The part of the service that stands on the micro-TPM, as sources for the TEE-SDK use it; and a constructor. */
#include <string.h>

#include <tee-sdk/svcapi.h>

#include "service.h"

int started;

__attribute__((constructor)) static void start(void)
{
	started++;
}

static tz_return_t seal(tzi_encode_buffer_t *in, tzi_encode_buffer_t *out)
{
	TPM_PCR_INFO *info;
	uint8_t *data, *blob;
	uint32_t info_length, length;
	tz_return_t error;
	if ((error = TZIDecodeBufF(in, "%" TZI_DARRSPC "%" TZI_DARRSPC, &info, &info_length, &data, &length)))
		return error;
	if (info && info_length != sizeof *info)
		return TZ_ERROR_ENCODE_FORMAT;
	const bool has_pcrs = info && info->pcrSelection.sizeOfSelect == 1 && info->pcrSelection.pcrSelect[0] != 0;
	size_t blob_length = utpm_seal_output_size(length, has_pcrs), too_little = blob_length - 1;
	if ((error = TZIEncodeBufF(out, "%" TZI_EARRSPC, &blob, (uint32_t)blob_length)))
		return error;
	/* Not a byte less: then nothing is written but how many it takes. */
	if (!svc_utpm_seal(info, data, length, blob, &too_little) || too_little != blob_length || blob[0] != 0)
		return TZ_ERROR_SHORT_BUFFER;
	if (svc_utpm_seal(info, data, length, blob, &blob_length) || blob_length != too_little)
		return TZ_ERROR_GENERIC;
	return TZIEncodeBufF(out, "%" TZI_EU32, (uint32_t)blob_length);
}

static tz_return_t unseal(tzi_encode_buffer_t *in, tzi_encode_buffer_t *out)
{
	uint8_t *blob, *data, *creation;
	uint32_t length;
	tz_return_t error;
	if ((error = TZIDecodeBufF(in, "%" TZI_DARRSPC, &blob, &length)))
		return error;
	if ((error = TZIEncodeBufF(out, "%" TZI_EARRSPC "%" TZI_EARRSPC, &data, length, &creation, (uint32_t)TPM_HASH_SIZE)))
		return error;
	size_t data_length = length;
	if (svc_utpm_unseal(blob, length, data, &data_length, creation))
		return TZ_ERROR_SECURITY;
	return TZIEncodeBufF(out, "%" TZI_EU32, (uint32_t)data_length);
}

static tz_return_t quote(tzi_encode_buffer_t *in, tzi_encode_buffer_t *out)
{
	TPM_NONCE *nonce;
	TPM_PCR_SELECTION *selection;
	uint32_t nonce_length, selection_length;
	uint8_t *signature, *composite;
	size_t signature_length = TPM_MAX_QUOTE_LEN, composite_length = 3 + 4 + TPM_PCR_NUM * TPM_HASH_SIZE;
	tz_return_t error;
	if ((error = TZIDecodeBufF(in, "%" TZI_DARRSPC "%" TZI_DARRSPC, &nonce, &nonce_length, &selection, &selection_length)))
		return error;
	if (nonce_length != sizeof *nonce || selection_length != sizeof *selection)
		return TZ_ERROR_ENCODE_FORMAT;
	if ((error = TZIEncodeBufF(out, "%" TZI_EARRSPC "%" TZI_EARRSPC, &signature, (uint32_t)signature_length, &composite,
				   (uint32_t)composite_length)))
		return error;
	if (svc_utpm_quote(nonce, selection, signature, &signature_length, composite, &composite_length))
		return TZ_ERROR_GENERIC;
	return TZIEncodeBufF(out, "%" TZI_EU32 "%" TZI_EU32, (uint32_t)signature_length, (uint32_t)composite_length);
}

static tz_return_t id_getpub(tzi_encode_buffer_t *out)
{
	uint8_t key[TPM_RSA_KEY_LEN + 100];
	size_t length = 10;
	/* Too little room is told, with how much it takes. */
	const int refused = svc_utpm_id_getpub(key, &length);
	size_t room = length;
	if (refused == 0 || room > sizeof key || svc_utpm_id_getpub(key, &room))
		return TZ_ERROR_GENERIC;
	return TZIEncodeBufF(out, "%" TZI_EARR "%" TZI_EU32, key, (uint32_t)room, (uint32_t)length);
}

static tz_return_t pcr_read(tzi_encode_buffer_t *in, tzi_encode_buffer_t *out)
{
	uint8_t *value;
	const uint32_t index = TZIDecodeUint32(in);
	const tz_return_t error = TZIEncodeBufF(out, "%" TZI_EARRSPC, &value, (uint32_t)TPM_HASH_SIZE);
	return error ? error : svc_utpm_pcr_read(index, value) ? TZ_ERROR_GENERIC : TZ_SUCCESS;
}

static tz_return_t pcr_extend(tzi_encode_buffer_t *in)
{
	uint8_t *measurement;
	uint32_t index, length;
	const tz_return_t error = TZIDecodeBufF(in, "%" TZI_DU32 "%" TZI_DARRSPC, &index, &measurement, &length);
	if (error || length != TPM_HASH_SIZE)
		return error ? error : TZ_ERROR_GENERIC;
	return svc_utpm_pcr_extend(index, measurement) ? TZ_ERROR_GENERIC : TZ_SUCCESS;
}

static tz_return_t rand_bytes(tzi_encode_buffer_t *in, tzi_encode_buffer_t *out)
{
	uint8_t *bytes;
	const uint32_t length = TZIDecodeUint32(in);
	size_t at_once = length;
	const tz_return_t error = TZIEncodeBufF(out, "%" TZI_EARRSPC, &bytes, length);
	if (error)
		return error;
	if (svc_utpm_rand(bytes, &at_once) || svc_utpm_rand_block(bytes, length))
		return TZ_ERROR_GENERIC;
	return TZIEncodeBufF(out, "%" TZI_EU32, (uint32_t)at_once);
}

static tz_return_t elapsed(tzi_encode_buffer_t *out)
{
	uint64_t times[2], epochs[2];
	if (svc_time_elapsed_us(&epochs[0], &times[0]) || svc_time_elapsed_us(&epochs[1], &times[1]))
		return TZ_ERROR_GENERIC;
	return TZIEncodeBufF(out, "%" TZI_EU32 "%" TZI_EU32 "%" TZI_EARR, (uint32_t)(epochs[0] == epochs[1]), (uint32_t)(times[0] <= times[1]),
			     (void *)times, (uint32_t)sizeof times);
}

/* Gives the old bytes out and puts the new ones in. */
static tz_return_t exchange_nv(tzi_encode_buffer_t *in, tzi_encode_buffer_t *out)
{
	size_t size;
	uint32_t length;
	uint8_t *old, *new = TZIDecodeArraySpace(in, &length);
	if (svc_tpmnvram_getsize(&size) || length != size)
		return TZ_ERROR_GENERIC;
	const tz_return_t error = TZIEncodeBufF(out, "%" TZI_EARRSPC, &old, length);
	if (error)
		return error;
	return svc_tpmnvram_readall(old) || svc_tpmnvram_writeall(new) ? TZ_ERROR_GENERIC : TZ_SUCCESS;
}

tz_return_t classic_service(uint32_t command, tzi_encode_buffer_t *in, tzi_encode_buffer_t *out)
{
	switch (command) {
	case SVC_SEAL:
		return seal(in, out);
	case SVC_UNSEAL:
		return unseal(in, out);
	case SVC_QUOTE:
		return quote(in, out);
	case SVC_ID_GETPUB:
		return id_getpub(out);
	case SVC_PCR_READ:
		return pcr_read(in, out);
	case SVC_PCR_EXTEND:
		return pcr_extend(in);
	case SVC_RAND:
		return rand_bytes(in, out);
	case SVC_TIME:
		return elapsed(out);
	case SVC_NV:
		return exchange_nv(in, out);
	default:
		return TZ_ERROR_NOT_IMPLEMENTED;
	}
}
