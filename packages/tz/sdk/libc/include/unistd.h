/* The little of POSIX unistd.h that has a meaning in a PAL: writing to the developer, and randomness. */
#ifndef _UNISTD_H
#define _UNISTD_H

#include <sys/random.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define STDIN_FILENO 0
#define STDOUT_FILENO 1
#define STDERR_FILENO 2

ssize_t write(int file, const void *data, size_t size);
void _exit(int status) __attribute__((noreturn));

#ifdef __cplusplus
}
#endif

#endif
