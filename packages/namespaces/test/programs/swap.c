/* Exchanges two names of a directory with each other, over and over, until it is killed or its time is up. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	time_t end = time(NULL) + 120;
	if (argc != 4 || chdir(argv[1]) < 0)
		return 2;
	for (unsigned long i = 0; i % 1024 != 0 || time(NULL) < end; i++) {
		if (renameat2(AT_FDCWD, argv[2], AT_FDCWD, argv[3], RENAME_EXCHANGE) < 0)
			return 1;
		for (volatile unsigned wait = (unsigned)rand() % 20000; wait > 0; wait--)
			;
	}
	return 0;
}
