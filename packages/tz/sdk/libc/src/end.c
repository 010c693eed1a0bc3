/* Ends of a call: wanted ones, failed assertions, smashed stacks; C11 7.22.4. */
#include <stdio.h>
#include <stdlib.h>

#include "../../src/system.h"

enum { FUNCTIONS = 32 };

static void (*functions[FUNCTIONS])(void);
static int count;

int atexit(void (*function)(void))
{
	if (count == FUNCTIONS)
		return -1;
	functions[count++] = function;
	return 0;
}

void _Exit(int status)
{
	(void)status;
	__pal_end();
}

void _exit(int status) __attribute__((noreturn));
void _exit(int status)
{
	_Exit(status);
}

void exit(int status)
{
	while (count > 0)
		functions[--count]();
	fflush(NULL);
	_Exit(status);
}

/* A fault, so that nothing of what is wrong is kept. */
void abort(void)
{
	__builtin_trap();
}

void __assert_fail(const char *condition, const char *file, unsigned int line, const char *function)
{
	fprintf(stderr, "%s:%u: %s: Assertion `%s' failed.\n", file, line, function, condition);
	abort();
}

char *getenv(const char *name)
{
	(void)name;
	return NULL;
}
