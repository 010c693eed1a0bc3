/* Random bytes of the isolate; getrandom(2), getentropy(3). */
#ifndef _SYS_RANDOM_H
#define _SYS_RANDOM_H

#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GRND_NONBLOCK 1
#define GRND_RANDOM 2

ssize_t getrandom(void *out, size_t size, unsigned int flags);
int getentropy(void *out, size_t size);

#ifdef __cplusplus
}
#endif

#endif
