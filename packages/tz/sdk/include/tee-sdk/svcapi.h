/*
 * What a service may ask of the isolate that it runs in: TrustVisor's services under the TEE-SDK's names.
 *
 * Each returns 0 or a nonzero error (UTPM_ERR_* and @casemate/pal-linker's PAL_STATUS). Every length that comes back is room before
 * the call: where it does not suffice, nothing is written but the length that would.
 */
#ifndef SVCAPI_H
#define SVCAPI_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <trustvisor/tv_utpm.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Microseconds since a start that epoch_nonce names: times of two epochs cannot be compared. */
int svc_time_elapsed_us(uint64_t *epoch_nonce, uint64_t *us);

/*
 * Seals in_len bytes. With uPCRs selected in pcrInfo they can be had again when these have the values of digestAtRelease; with
 * none selected, or a null pointer, by this PAL alone. (TrustVisor's were then for any PAL of the machine.)
 */
int svc_utpm_seal(TPM_PCR_INFO *pcrInfo, void *in, size_t in_len, void *out, size_t *out_len);
/* The other way; digestAtCreation, which may be null, takes 20 bytes: the uPCRs' composite when it was sealed, else zeros. */
int svc_utpm_unseal(void *in, size_t in_len, void *out, size_t *out_len, void *digestAtCreation);

/* An RSASSA-PKCS1-v1_5 signature of SHA-1(TPM_QUOTE_INFO), and the TPM_PCR_COMPOSITE that its digestValue is the hash of. */
int svc_utpm_quote(TPM_NONCE *nonce, TPM_PCR_SELECTION *tpmsel, uint8_t *sig, size_t *sigLen, uint8_t *pcrComposite,
		   size_t *pcrCompositeLen);
/* The key that verifies quotes: a DER RSAPublicKey (PKCS #1). */
int svc_utpm_id_getpub(uint8_t *N, size_t *out_len);

/* uPCR idx = SHA-1(uPCR idx || 20 bytes of meas). */
int svc_utpm_pcr_extend(uint32_t idx, uint8_t *meas);
/* 20 bytes. */
int svc_utpm_pcr_read(uint32_t idx, uint8_t *val);

/* Up to *out_len random bytes; says how many. At most MAX_TPM_RAND_DATA_LEN come at once. */
int svc_utpm_rand(void *out, size_t *out_len);
/* All of them. */
int svc_utpm_rand_block(void *out, size_t out_len);

/* Memory of this PAL's own that outlives it and cannot be rolled back: how many bytes, and all of them. */
int svc_tpmnvram_getsize(size_t *size);
int svc_tpmnvram_readall(uint8_t *out);
int svc_tpmnvram_writeall(uint8_t *in);

#ifdef __cplusplus
}
#endif

#endif
