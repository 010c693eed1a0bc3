/*
 * TrustVisor's micro-TPM as its PALs see it: structures of TPM 1.2 with SHA-1, eight uPCRs, RSA-2048.
 *
 * sizeOfSelect is little-endian, as TrustVisor has it; everything else is bytes. The functions on these are in tee-sdk/svcapi.h.
 */
#ifndef _TV_UTPM_H_
#define _TV_UTPM_H_

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TPM_RSA_KEY_LEN 256
#define TPM_HASH_SIZE 20
#define TPM_PCR_SIZE 20
#define TPM_PCR_NUM 8
#define TPM_NONCE_SIZE 20
#define TPM_AES_KEY_LEN 128
#define TPM_AES_KEY_LEN_BYTES (TPM_AES_KEY_LEN / 8)
#define TPM_HMAC_KEY_LEN 20
#define TPM_CONFOUNDER_SIZE 20

#define MAX_TPM_EXTEND_DATA_LEN 4096
#define MAX_TPM_RAND_DATA_LEN 4096
#define MAX_SEALDATA_LEN 2048
#define SEALDATA_HEADER_LEN 48

/* Of the older quote, of at most four uPCRs, which is not served any more. */
#define MAX_PCR_SEL_NUM 4
#define MAX_PCR_SEL_SIZE (4 + 4 * MAX_PCR_SEL_NUM)
#define MAX_PCR_DATA_SIZE (MAX_PCR_SEL_NUM * TPM_PCR_SIZE)
#define TPM_QUOTE_SIZE (8 + MAX_PCR_SEL_SIZE + MAX_PCR_DATA_SIZE + TPM_NONCE_SIZE + TPM_RSA_KEY_LEN)

/* What the functions of svcapi.h return; more numbers are in @casemate/pal-linker, PAL_STATUS. */
#define UTPM_SUCCESS 0
#define UTPM_ERR_BAD_PARAM 1
#define UTPM_ERR_PCR_OUT_OF_RANGE 2
#define UTPM_ERR_INSUFFICIENT_ENTROPY 3
#define UTPM_ERR 4

typedef uint32_t TPM_RESULT;

/* Which uPCRs: bit i % 8 of byte i / 8 is uPCR i. 3 bytes. */
typedef struct tdTPM_PCR_SELECTION {
	uint16_t sizeOfSelect;
	uint8_t pcrSelect[TPM_PCR_NUM / 8];
} __attribute__((packed)) TPM_PCR_SELECTION;

typedef struct tdTPM_DIGEST {
	uint8_t value[TPM_HASH_SIZE];
} TPM_DIGEST;

/* SHA-1 of a TPM_PCR_COMPOSITE: selection, u32 big-endian bytes of values, values. */
typedef TPM_DIGEST TPM_COMPOSITE_HASH;

/* When something sealed may be had again: 43 bytes. digestAtCreation is filled in at sealing. */
typedef struct tdTPM_PCR_INFO {
	TPM_PCR_SELECTION pcrSelection;
	TPM_COMPOSITE_HASH digestAtRelease;
	TPM_COMPOSITE_HASH digestAtCreation;
} TPM_PCR_INFO;

typedef struct tdTPM_NONCE {
	uint8_t nonce[TPM_NONCE_SIZE];
} TPM_NONCE;

typedef struct tdTPM_STRUCT_VER {
	uint8_t major;
	uint8_t minor;
	uint8_t revMajor;
	uint8_t revMinor;
} TPM_STRUCT_VER;

/* What is signed in a quote: 1.1.0.0, "QUOT", the hash of the composite, the caller's nonce. 48 bytes. */
typedef struct tdTPM_QUOTE_INFO {
	TPM_STRUCT_VER version;
	uint8_t fixed[4];
	TPM_COMPOSITE_HASH digestValue;
	TPM_NONCE externalData;
} TPM_QUOTE_INFO;

/* Room for a composite of all uPCRs and a signature with their lengths. */
#define TPM_MAX_QUOTE_LEN                                                                                                      \
	(sizeof(TPM_PCR_SELECTION) + sizeof(uint32_t) + TPM_PCR_NUM * TPM_HASH_SIZE + sizeof(uint32_t) + TPM_RSA_KEY_LEN)

/* Selects uPCR i; an index that there is not changes nothing. */
static inline void utpm_pcr_select_i(TPM_PCR_SELECTION *tpmsel, uint32_t i)
{
	if (!tpmsel || i >= TPM_PCR_NUM)
		return;
	if (tpmsel->sizeOfSelect <= i / 8)
		tpmsel->sizeOfSelect = (uint16_t)(i / 8 + 1);
	tpmsel->pcrSelect[i / 8] = (uint8_t)(tpmsel->pcrSelect[i / 8] | 1u << i % 8);
}

static inline bool utpm_pcr_is_selected(TPM_PCR_SELECTION *tpmsel, uint32_t i)
{
	return tpmsel && i < TPM_PCR_NUM && i / 8 < tpmsel->sizeOfSelect && (tpmsel->pcrSelect[i / 8] >> i % 8 & 1) != 0;
}

/* What sealing adds: the blob's own head and authentication code (not TrustVisor's sizes), and the TPM_PCR_INFO. */
#define UTPM_SEAL_OVERHEAD 53

/* Bytes of what svc_utpm_seal makes of inlen bytes. */
static inline unsigned int utpm_seal_output_size(unsigned int inlen, bool usingPcrs)
{
	return inlen + UTPM_SEAL_OVERHEAD + (usingPcrs ? (unsigned int)sizeof(TPM_PCR_INFO) : 0);
}

#ifdef __cplusplus
}
#endif

#endif
