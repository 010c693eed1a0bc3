/* An application with two PALs that know nothing of each other, nor of its own C library. Prints what both return and where they lie. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

void first(uint32_t command, void *in, void *out, uint32_t *rv);
void second(uint32_t command, void *in, void *out, uint32_t *rv);
extern char __scode_first_pal_start[], __scode_first_pal_end[], __sdata_first_pal_start[], __sdata_first_pal_end[];
extern char __scode_second_start[], __scode_second_end[], __sdata_second_start[], __sdata_second_end[];

/* What the PALs have of the same name is their own. */
int count = 1000;
char *strdup(const char *text)
{
	return (char *)text;
}

static int is_apart(const char *start, const char *end)
{
	return ((uintptr_t)start & 0xfff) == 0 && ((uintptr_t)end & 0xfff) == 0 && end > start;
}

int main(void)
{
	static uint32_t in[64], out[64];
	uint32_t a = 0, b = 0;
	for (int i = 0; i < 2; i++) {
		first(1, in, out, &a);
		second(1, in, out, &b);
	}
	printf("%u %u %d %d", a, b, count, (int)strlen("four"));
	printf(" %d%d%d%d", is_apart(__scode_first_pal_start, __scode_first_pal_end), is_apart(__scode_second_start, __scode_second_end),
	       is_apart(__sdata_first_pal_start, __sdata_first_pal_end), is_apart(__sdata_second_start, __sdata_second_end));
	uintptr_t entry = (uintptr_t)first;
	printf(" %d\n", entry >= (uintptr_t)__scode_first_pal_start && entry < (uintptr_t)__scode_first_pal_end);
	return 0;
}
