/*
 * The types and numbers of the TZ API that services share with their clients: TrustZone API 3.0 (ARM PRD29-USGC-000089 3.1),
 * chapter 5, with the TEE-SDK's names and numbers. The client's functions are @casemate/tz, in TypeScript.
 */
#ifndef TZ_H
#define TZ_H

/* Sources for the TEE-SDK rely on these coming along. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How a parameter travels; for the reader alone. */
#ifndef IN
#define IN
#define OUT
#define INOUT
#endif

typedef uint32_t tz_return_t;
typedef uint32_t tz_state_t;

/* A UUID of RFC 4122. */
typedef struct tz_uuid_t {
	uint32_t uiTimeLow;
	uint16_t uiTimeMid;
	uint16_t uiTimeHiAndVersion;
	uint8_t auiClockSeqAndNode[8];
} tz_uuid_t;

/* Who opens a session: TZ_LOGIN_* bits, and the client's own data with TZ_LOGIN_CLIENT_DATA. */
typedef struct tz_login_t {
	uint32_t uiType;
	void *pBuff;
	uint32_t uiBuffLen;
} tz_login_t;

typedef struct tz_property_t {
	uint32_t uiNamespace;
	uint32_t uiName;
	void *pValue;
	uint32_t uiLength;
} tz_property_t;

typedef struct tz_property_name_t {
	uint32_t uiNamespace;
	uint32_t uiName;
} tz_property_name_t;

/* 5.5.2: results. */
enum {
	TZ_SUCCESS,
	TZ_PENDING,
	TZ_ERROR_ACCESS_DENIED,
	TZ_ERROR_BUSY,
	TZ_ERROR_CANCEL,
	TZ_ERROR_COMMUNICATION,
	TZ_ERROR_DECODE_NO_DATA,
	TZ_ERROR_DECODE_TYPE,
	TZ_ERROR_ENCODE_FORMAT,
	TZ_ERROR_ENCODE_MEMORY,
	TZ_ERROR_GENERIC,
	TZ_ERROR_ILLEGAL_ARGUMENT,
	TZ_ERROR_ILLEGAL_STATE,
	TZ_ERROR_MEMORY,
	TZ_ERROR_NOT_IMPLEMENTED,
	TZ_ERROR_SECURITY,
	TZ_ERROR_SERVICE,
	TZ_ERROR_SHORT_BUFFER,
	TZ_ERROR_UNDEFINED,
};

/* 5.5.3: states. */
enum {
	TZ_STATE_UNDEFINED,
	TZ_STATE_INVALID,
	TZ_STATE_OPEN,
	TZ_STATE_CLOSING,
	TZ_STATE_ENCODE,
	TZ_STATE_PERFORMABLE,
	TZ_STATE_RUNNING,
	TZ_STATE_RUNNING_ASYNC,
	TZ_STATE_DECODE,
};

/* 5.5.4.1: namespaces of properties, with the numbers of the specification. */
#define TZ_NAMESPACE_SYSTEM UINT32_C(0xf0000000)
#define TZ_NAMESPACE_SERVICE UINT32_C(0xf0000001)
#define TZ_NAMESPACE_CLIENT UINT32_C(0xf0000002)
#define TZ_NAMESPACE_CONFIG UINT32_C(0xf0000003)

/* 5.5.6: logins, as they come with the command TZ_COMMAND_OPEN. */
#define TZ_LOGIN_PUBLIC 0u
#define TZ_LOGIN_CLIENT_DATA (1u << 0)
#define TZ_LOGIN_USER (1u << 1)
#define TZ_LOGIN_GROUP (1u << 2)
#define TZ_LOGIN_NAME (1u << 3)
#define TZ_LOGIN_DIGEST (1u << 4)
#define TZ_LOGIN_ALL (TZ_LOGIN_CLIENT_DATA | TZ_LOGIN_USER | TZ_LOGIN_GROUP | TZ_LOGIN_NAME | TZ_LOGIN_DIGEST)

/* 5.5.7: what a service may do with a memory reference. */
#define TZ_MEM_SERVICE_RO (1u << 0)
#define TZ_MEM_SERVICE_WO (1u << 1)
#define TZ_MEM_SERVICE_RW (TZ_MEM_SERVICE_RO | TZ_MEM_SERVICE_WO)

/* 5.5.8: types of records; TZI_TYPE_MEMORY is ours. */
enum {
	TZ_TYPE_NONE,
	TZ_TYPE_UINT32,
	TZ_TYPE_ARRAY,
	TZI_TYPE_MEMORY,
};

/* Commands that tell a service of its sessions; WIRE.md, "Opening and closing". */
#define TZ_COMMAND_OPEN UINT32_C(0xfffffffe)
#define TZ_COMMAND_CLOSE UINT32_C(0xffffffff)

/*
 * Formats of TZIEncodeBufF, each behind a "%", with what it takes:
 * an integer; text with its zero; bytes (const void *, uint32_t); room to be filled later (void **, uint32_t).
 */
#define TZI_EU32 PRIu32
#define TZI_ESTR "s"
#define TZI_EARR "p%" PRIu32
#define TZI_EARRSPC "-p%" PRIu32

/*
 * Formats of TZIDecodeBufF: an integer (uint32_t *); the place of an array and its length (void **, uint32_t *), or its place
 * alone; a copy of an array (void *, uint32_t * with the room, then the length). A "*" behind the "%" skips.
 */
#define TZI_DU32 PRIu32
#define TZI_DARRSPC "p%" PRIu32
#define TZI_DARRSPC_NOLEN "p%*" PRIu32
#define TZI_DARR "s%" PRIu32
#define TZI_DARR_NOLEN "s%*" PRIu32

#ifdef __cplusplus
}
#endif

#endif
