/* The error number: one, as there is one thread. */
#include <errno.h>

int *__errno_location(void)
{
	static int number;
	return &number;
}
