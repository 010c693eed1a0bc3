/* A long double has the value of the nearest double. In a file of its own: on WebAssembly the compiler's library must widen it. */
#include <stdlib.h>

long double strtold(const char *restrict text, char **restrict end)
{
	return strtod(text, end);
}
