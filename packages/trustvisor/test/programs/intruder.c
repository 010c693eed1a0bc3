/* Tries every way into another process of the same user that the kernel has, and prints one line for each: its name and 0 or errno. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static int opens(int pid, const char *file, int flags)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/%s", pid, file);
	int fd = open(path, flags);
	if (fd < 0)
		return errno;
	char byte;
	/* Some of these files check at the first read. */
	ssize_t got = flags == O_RDONLY ? read(fd, &byte, 1) : 1;
	int error = got < 0 && errno != EIO ? errno : 0;
	close(fd);
	return error;
}

static int attaches(int pid, int request)
{
	if (ptrace(request, pid, 0, 0))
		return errno;
	if (request == PTRACE_ATTACH)
		waitpid(pid, NULL, __WALL);
	else if (!ptrace(PTRACE_INTERRUPT, pid, 0, 0))
		waitpid(pid, NULL, __WALL);
	ptrace(PTRACE_DETACH, pid, 0, 0);
	return 0;
}

/* Where its program begins, as far as that is to be known. */
static unsigned long somewhere(int pid)
{
	char path[64], line[32] = {0};
	snprintf(path, sizeof path, "/proc/%d/maps", pid);
	int fd = open(path, O_RDONLY);
	ssize_t got = fd < 0 ? -1 : read(fd, line, sizeof line - 1);
	if (fd >= 0)
		close(fd);
	return got > 0 ? strtoul(line, NULL, 16) : 0x400000;
}

int main(int count, char **arguments)
{
	int pid = count > 1 ? atoi(arguments[1]) : 0;
	char here[16];
	struct iovec local = {here, sizeof here}, remote = {(void *)somewhere(pid), sizeof here};
	printf("ptrace-attach %d\n", attaches(pid, PTRACE_ATTACH));
	printf("ptrace-seize %d\n", attaches(pid, PTRACE_SEIZE));
	printf("mem-read %d\n", opens(pid, "mem", O_RDONLY));
	printf("mem-write %d\n", opens(pid, "mem", O_RDWR));
	printf("maps %d\n", opens(pid, "maps", O_RDONLY));
	printf("environ %d\n", opens(pid, "environ", O_RDONLY));
	printf("syscall %d\n", opens(pid, "syscall", O_RDONLY));
	printf("process-vm-readv %d\n", process_vm_readv(pid, &local, 1, &remote, 1, 0) < 0 ? errno : 0);
	printf("process-vm-writev %d\n", process_vm_writev(pid, &local, 1, &remote, 1, 0) < 0 && errno != EFAULT ? errno : 0);
	int handle = (int)syscall(SYS_pidfd_open, pid, 0);
	int stolen = handle < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, handle, 3, 0);
	printf("pidfd-getfd %d\n", stolen < 0 && errno != EBADF ? errno : 0);
	return 0;
}
