/*
 * Services for development, in a program of the host's own (library svc-null): the PAL is called as a function, and nothing is
 * protected. uPCRs, sealing to them, time, randomness, the 32 bytes of NV and a history's state work, the last two for as long as the program runs; quotes and
 * the identity key do not: svc_utpm_quote and svc_utpm_id_getpub return UTPM_ERR.
 */
#ifndef SVCNULL_H
#define SVCNULL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Lends memory to the next call as reference `index`, 0 to 15; access is TZ_MEM_SERVICE_*, 0 takes it back. False for another index. */
bool svc_null_lend(uint32_t index, void *memory, uint64_t length, uint32_t access);
/* As after a start: uPCRs zero but for uPCR 0, which is SHA-1 of 20 zeros and 20 more; NV zero, no state, nothing lent. */
void svc_null_reset(void);

#ifdef __cplusplus
}
#endif

#endif
