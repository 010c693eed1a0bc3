/* Random bytes of the isolate, under every name that libraries know. Where there are none the call ends: nothing is made up. */
#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "../../src/system.h"

ssize_t getrandom(void *out, size_t size, unsigned int flags)
{
	(void)flags;
	if (__pal_random(out, size) == 0)
		return (ssize_t)size;
	errno = EAGAIN;
	return -1;
}

int getentropy(void *out, size_t size)
{
	if (size <= 256)
		return getrandom(out, size, 0) < 0 ? -1 : 0;
	errno = EIO;
	return -1;
}

void arc4random_buf(void *out, size_t size)
{
	if (__pal_random(out, size) != 0)
		abort();
}

unsigned int arc4random(void)
{
	unsigned int value;
	arc4random_buf(&value, sizeof value);
	return value;
}

int rand(void)
{
	return (int)(arc4random() & RAND_MAX);
}

void srand(unsigned int seed)
{
	(void)seed;
}
