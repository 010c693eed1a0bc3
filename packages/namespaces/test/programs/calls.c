/*
 * Makes single system calls and prints what they return, as "RESULT" or "-ERRNO", one a line.
 *   calls raw NR ARG...        any call; an argument that begins with @ is text
 *   calls batch                reads lines "NR ARG..." and prints the results, but for values that succeed only "ok"
 *   calls open PATH            opens for reading, prints the result, and then the content
 *   calls many COUNT           as many threads, each calls getppid once; prints how many got 77
 *   calls swap PATH OTHER      opens a path that another thread keeps changing, a thousand times
 *   calls wait                 calls getppid and ends with 0 if it returned
 *   calls bind PORT, calls connect PORT, calls truncate PATH, calls ioctl PATH, calls abstract NAME
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

static void print(long result)
{
	printf("%ld\n", result < 0 ? -(long)errno : result);
}

static void raw(char **args)
{
	long values[7] = {0};
	for (int i = 0; i < 7 && args[i]; i++)
		values[i] = args[i][0] == '@' ? (long)(args[i] + 1) : (long)strtoull(args[i], NULL, 0);
	print(syscall(values[0], values[1], values[2], values[3], values[4], values[5], values[6]));
}

static void batch(void)
{
	static char line[512], results[65536];
	size_t used = 0;
	while (fgets(line, sizeof line, stdin)) {
		long values[7] = {0};
		char *at = line;
		for (int i = 0; i < 7; i++)
			values[i] = (long)strtoull(at, &at, 0);
		long result = syscall(values[0], values[1], values[2], values[3], values[4], values[5], values[6]);
		used += (size_t)snprintf(results + used, sizeof results - used, result == -1 ? "-%d\n" : "ok\n", errno);
	}
	(void)!write(1, results, used);
	_exit(0);
}

static void *one(void *got)
{
	*(long *)got = syscall(SYS_getppid);
	return NULL;
}

static void many(int count)
{
	pthread_t *threads = calloc((size_t)count, sizeof *threads);
	long *got = calloc((size_t)count, sizeof *got);
	int right = 0;
	pthread_attr_t attributes;
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, 65536);
	for (int i = 0; i < count; i++)
		if (pthread_create(&threads[i], &attributes, one, &got[i]) != 0)
			exit(3);
	for (int i = 0; i < count; i++) {
		pthread_join(threads[i], NULL);
		right += got[i] == 77;
	}
	printf("%d\n", right);
}

static char path[256];
static char *const *choices;

static void *swap(void *unused)
{
	(void)unused;
	for (unsigned i = 0;; i++)
		strcpy(path, choices[i & 1]);
	return NULL;
}

static void race(char **paths)
{
	pthread_t thread;
	char text[64];
	int secrets = 0;
	choices = paths;
	strcpy(path, paths[0]);
	pthread_create(&thread, NULL, swap, NULL);
	for (int i = 0; i < 1000; i++) {
		int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY);
		ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
		text[n > 0 ? n : 0] = 0;
		secrets += strstr(text, "secret") != NULL;
		if (fd >= 0)
			close(fd);
	}
	printf("%d\n", secrets);
}

static void content(const char *name)
{
	char text[4096];
	int fd = (int)syscall(SYS_openat, AT_FDCWD, name, O_RDONLY);
	print(fd);
	ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text);
	fflush(stdout);
	if (n > 0)
		(void)!write(1, text, (size_t)n);
}

static void tcp(int connects, int port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	print(connects ? connect(fd, (struct sockaddr *)&address, sizeof address) : bind(fd, (struct sockaddr *)&address, sizeof address));
}

static void abstract(const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	strncpy(address.sun_path + 1, name, sizeof address.sun_path - 2);
	socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name));
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	int result = connect(fd, (struct sockaddr *)&address, size);
	/* Some bind to a name that zero bytes fill up. */
	print(result < 0 && errno == ECONNREFUSED ? connect(fd, (struct sockaddr *)&address, sizeof address) : result);
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	const char *what = argc > 1 ? argv[1] : "";
	if (strcmp(what, "raw") == 0)
		raw(argv + 2);
	else if (strcmp(what, "batch") == 0)
		batch();
	else if (strcmp(what, "open") == 0)
		content(argv[2]);
	else if (strcmp(what, "flags") == 0)
		print(fcntl((int)syscall(SYS_openat, AT_FDCWD, argv[2], O_RDONLY), F_GETFL));
	else if (strcmp(what, "many") == 0)
		many(atoi(argv[2]));
	else if (strcmp(what, "swap") == 0)
		race(argv + 2);
	else if (strcmp(what, "wait") == 0)
		return syscall(SYS_getppid) < 0;
	else if (strcmp(what, "bind") == 0)
		tcp(0, atoi(argv[2]));
	else if (strcmp(what, "connect") == 0)
		tcp(1, atoi(argv[2]));
	else if (strcmp(what, "truncate") == 0)
		print(truncate(argv[2], 0));
	else if (strcmp(what, "ioctl") == 0)
		print(ioctl(open(argv[2], O_RDONLY), 0x5413 /* TIOCGWINSZ */, path));
	else if (strcmp(what, "abstract") == 0)
		abstract(argv[2]);
	else
		return 2;
	return 0;
}
