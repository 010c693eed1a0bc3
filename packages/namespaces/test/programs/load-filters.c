/* Loads seccomp programs into the kernel, each in a process of its own. On standard input each is a length in bytes (32 bits) and the
 * program; prints 0 or the error number of each. What the filter then does to the process does not matter. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int load(struct sock_fprog *program, volatile int *result)
{
	pid_t pid;
	*result = -1;
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		*result = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, program) < 0 ? errno : 0;
		for (;;)
			; /* any call may be forbidden */
	}
	while (*result < 0)
		usleep(100);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return *result;
}

int main(void)
{
	static struct sock_filter code[8192];
	volatile int *result = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint32_t size;
	while (fread(&size, sizeof size, 1, stdin) == 1) {
		if (size > sizeof code || fread(code, 1, size, stdin) != size)
			return 1;
		struct sock_fprog program = {.len = (unsigned short)(size / 8), .filter = code};
		printf("%d\n", load(&program, result));
	}
	return 0;
}
