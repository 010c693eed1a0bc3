/* The commands of the PAL, with the numbers of the TEE-SDK's test. */
#ifndef PALS_H
#define PALS_H

#include <tee-sdk/tzmarshal.h>

typedef enum {
	PAL_WITHOUTPARAM,
	PAL_PARAM,	  /* u32 -> u32, one more */
	PAL_SEAL,	  /* TPM_PCR_INFO, data -> room with the blob, its length */
	PAL_UNSEAL,	  /* blob -> room with the data, digest at creation, length of the data */
	PAL_QUOTE,	  /* nonce, TPM_PCR_SELECTION -> room with the signature, room with the composite, length of the signature */
	PAL_ID_GETPUB,	  /* -> room with the key, its length */
	PAL_PCR_READ,	  /* u32 -> 20 bytes */
	PAL_PCR_EXTEND,	  /* u32, 20 bytes */
	PAL_RAND,	  /* u32 -> so many bytes */
	PAL_TIME_INIT,	  /* the clock starts */
	PAL_TIME_ELAPSED, /* -> microseconds since then, the upper half first */
	PAL_NV_ROLLBACK,  /* 32 bytes -> those that were there */
} PAL_CMD;

void pals(uint32_t uiCommand, tzi_encode_buffer_t *psInBuf, tzi_encode_buffer_t *psOutBuf, tz_return_t *puiRv);

#endif
