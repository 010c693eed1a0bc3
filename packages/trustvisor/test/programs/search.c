/*
 * `search MASK FILE` and `search MASK PID`: how often a secret of programs/secret.c is in a file, or in the memory of a process,
 * pages that are swapped out included: sixteen bytes, and behind them the same under the mask, neither of them zeros.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static unsigned char mask[16], buffer[(4 << 20) + 32];
static const unsigned char zeros[16];

static long search(const unsigned char *bytes, long length)
{
	long found = 0;
	for (long at = 0; at + 32 <= length; at++) {
		if ((bytes[at] ^ mask[0]) != bytes[at + 16] || (bytes[at + 1] ^ mask[1]) != bytes[at + 17])
			continue;
		int same = 2;
		while (same < 16 && (bytes[at + same] ^ mask[same]) == bytes[at + 16 + same])
			same++;
		found += same == 16 && memcmp(bytes + at, zeros, 16) && memcmp(bytes + at + 16, zeros, 16);
	}
	return found;
}

static long search_range(int file, unsigned long from, unsigned long to)
{
	long found = 0;
	for (unsigned long at = from; at < to; at += 4 << 20) {
		unsigned long length = to - at < (4 << 20) + 31 ? to - at : (4 << 20) + 31;
		found += search(buffer, pread(file, buffer, length, (off_t)at)); /* pages of devices cannot be read: -1 */
	}
	return found;
}

static long search_process(const char *pid)
{
	char path[64], line[512], access[8];
	unsigned long from, to, inode;
	long found = 0;
	snprintf(path, sizeof path, "/proc/%s/maps", pid);
	FILE *maps = fopen(path, "r");
	snprintf(path, sizeof path, "/proc/%s/mem", pid);
	int memory = open(path, O_RDONLY);
	if (!maps || memory < 0)
		return -1;
	while (fgets(line, sizeof line, maps)) {
		if (sscanf(line, "%lx-%lx %7s %*x %*s %lu", &from, &to, access, &inode) != 4 || access[0] != 'r')
			continue;
		/* What a file holds that is not written to holds no secret. */
		if (access[1] == 'w' || inode == 0)
			found += search_range(memory, from, to);
	}
	return found;
}

int main(int count, char **arguments)
{
	if (count < 3)
		return 2;
	for (int i = 0; i < 16; i++)
		sscanf(arguments[1] + 2 * i, "%2hhx", &mask[i]);
	int file = arguments[2][0] == '/' ? open(arguments[2], O_RDONLY) : -1;
	long found = file >= 0 ? search_range(file, 0, (unsigned long)lseek(file, 0, SEEK_END)) : search_process(arguments[2]);
	printf("%ld\n", found);
	return found < 0;
}
