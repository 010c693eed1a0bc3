/* SHA-1 (FIPS 180-4, 6.1) for the uPCRs of development, which protect nothing. */
#ifndef PAL_SHA1_H
#define PAL_SHA1_H

#include <stddef.h>
#include <stdint.h>

enum { SHA1_SIZE = 20 };

void __pal_sha1(const uint8_t *data, size_t size, uint8_t digest[SHA1_SIZE]);

#endif
