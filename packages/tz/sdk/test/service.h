/* The commands of the service under test. */
#ifndef SERVICE_H
#define SERVICE_H

#include <tee-sdk/tzmarshal.h>

typedef enum {
	SVC_ECHO,
	SVC_PRINT,
	SVC_HEAP,
	SVC_SORT,
	SVC_JUMP,
	SVC_EXIT,
	SVC_ASSERT,
	SVC_LENT,
	SVC_NUMBERS,
	SVC_STARTED,
	SVC_ENDLESS_OUTPUT,
	SVC_TWICE_FREED,
	SVC_ERRORS,
	SVC_SEAL,
	SVC_UNSEAL,
	SVC_QUOTE,
	SVC_ID_GETPUB,
	SVC_PCR_READ,
	SVC_PCR_EXTEND,
	SVC_RAND,
	SVC_TIME,
	SVC_NV,
} svc_command;

/* In another object. */
tz_return_t classic_service(uint32_t command, tzi_encode_buffer_t *in, tzi_encode_buffer_t *out);
extern int started;

#endif
