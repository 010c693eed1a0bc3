/*
 * Messages of the TZ API inside a service: the buffer and its records, WIRE.md of @casemate/tz.
 *
 * Where input comes from the application it controls every byte. The first error sticks in uiRetVal: from then on encoding adds
 * nothing, integers are 0 and arrays NULL. Nothing reads or writes beyond uiSizeUsed or uiSize.
 */
#ifndef TZMARSHAL_H
#define TZMARSHAL_H

#include <stddef.h>

#include "tz.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A buffer, at an address that is a multiple of 8. uiSizeUsed counts while decoding alone. */
typedef struct tzi_encode_buffer_t {
	tz_return_t uiRetVal;
	uint32_t uiSize;
	uint32_t uiOffset;
	uint32_t uiSizeUsed;
	uint8_t pBuf[] __attribute__((aligned(8)));
} tzi_encode_buffer_t;

/* Makes uiLength bytes, header included, an empty buffer. */
void TZIEncodeBufInit(INOUT tzi_encode_buffer_t *psBuffer, uint32_t uiLength);
/* Empties a buffer. */
void TZIEncodeBufReInit(INOUT tzi_encode_buffer_t *psBuffer);
/* Turns a buffer that was encoded into one that can be decoded. An error stays with it. */
void TZIEncodeToDecode(INOUT tzi_encode_buffer_t *psBuffer);
/* Whether uiBytes bytes from outside are a buffer in decode form: TZ_SUCCESS or TZ_ERROR_COMMUNICATION. Not in the TEE-SDK. */
tz_return_t TZIDecodeBufCheck(IN const tzi_encode_buffer_t *psBuffer, size_t uiBytes);

void TZIEncodeUint32(INOUT tzi_encode_buffer_t *psBuffer, uint32_t uiData);
/* NULL with length 0 is the NULL array, which differs from an empty one. */
void TZIEncodeArray(INOUT tzi_encode_buffer_t *psBuffer, IN void const *pkArray, uint32_t uiLength);
/* uiLength zero bytes at a multiple of 8, for the caller to fill; NULL on error. */
void *TZIEncodeArraySpace(INOUT tzi_encode_buffer_t *psBuffer, uint32_t uiLength);

uint32_t TZIDecodeUint32(INOUT tzi_encode_buffer_t *psBuffer);
/* The array where it lies in the buffer. NULL is the NULL array or an error; an empty array is not NULL. */
void *TZIDecodeArraySpace(INOUT tzi_encode_buffer_t *psBuffer, OUT uint32_t *puiLength);
/* The memory that a reference names; NULL on error. What may be done with it: TZIDecodeMemoryAccess. */
void *TZIDecodeMemoryReference(INOUT tzi_encode_buffer_t *psBuffer, OUT uint32_t *puiLength);
/* As above, with the TZ_MEM_SERVICE_* bits. Not in the TEE-SDK. */
void *TZIDecodeMemoryAccess(INOUT tzi_encode_buffer_t *psBuffer, OUT uint32_t *puiLength, OUT uint32_t *puiFlags);
/* The type of the next record, TZ_TYPE_NONE at the end, after an error and before what is no record. */
uint32_t TZIDecodeGetType(IN const tzi_encode_buffer_t *psBuffer);
/* The first error. */
tz_return_t TZIDecodeGetError(INOUT tzi_encode_buffer_t *psBuffer);

/* The record of a reference as it is on the wire: a number among the references of the call, bytes, TZ_MEM_SERVICE_* bits. */
typedef struct tzi_memory_record_t {
	uint32_t uiSize;
	uint32_t uiIndex;
	uint32_t uiFlags;
} tzi_memory_record_t;
/* These two are not in the TEE-SDK: a client's side in C needs the first, TZIDecodeMemoryAccess the second. False on error. */
void TZIEncodeMemoryRecord(INOUT tzi_encode_buffer_t *psBuffer, IN const tzi_memory_record_t *psRecord);
bool TZIDecodeMemoryRecord(INOUT tzi_encode_buffer_t *psBuffer, OUT tzi_memory_record_t *psRecord);

/* Several values by a format of TZI_E… or TZI_D… pieces (tz.h); return the first error, TZ_ERROR_ILLEGAL_ARGUMENT for a bad format. */
tz_return_t TZIEncodeBufF(tzi_encode_buffer_t *psBuffer, const char *str, ...) __attribute__((format(printf, 2, 3)));
tz_return_t vTZIEncodeBufF(tzi_encode_buffer_t *psBuffer, const char *str, va_list argp);
tz_return_t TZIDecodeBufF(tzi_encode_buffer_t *psBuffer, const char *str, ...) __attribute__((format(scanf, 2, 3)));
tz_return_t vTZIDecodeBufF(tzi_encode_buffer_t *psBuffer, const char *str, va_list argp);

#ifdef __cplusplus
}
#endif

#endif
