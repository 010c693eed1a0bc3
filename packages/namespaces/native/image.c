/* Our own image: run from memory that nobody can write, whoever comes to hold /proc/PID/exe of one of our processes. */
#include "launcher.h"

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif
#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

static int new_memory(void)
{
	int fd = memfd_create("casemate-launcher", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);
	if (fd < 0 && errno == EINVAL) /* before Linux 6.3 every one is executable */
		fd = memfd_create("casemate-launcher", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	return fd;
}

static int copy_file(int from, int to)
{
	struct stat info;
	if (fstat(from, &info) < 0)
		return -1;
	for (off_t left = info.st_size; left > 0;) {
		ssize_t n = sendfile(to, from, NULL, (size_t)left);
		if (n <= 0)
			return -1;
		left -= n;
	}
	return 0;
}

/*
 * Replaces this process by a sealed copy of itself. Where the system refuses programs in memory (sysctl vm.memfd_noexec) we go on as
 * we are: no sandbox sees a process of ours that it may look into, since those inside are not dumpable until they execute.
 */
void run_sealed(char **argv)
{
	int image = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	if (image < 0)
		return;
	int seals = fcntl(image, F_GET_SEALS);
	int memory = seals < 0 || (seals & SEALS) != SEALS ? new_memory() : -1;
	if (memory >= 0 && copy_file(image, memory) == 0 && fcntl(memory, F_ADD_SEALS, SEALS) == 0 &&
	    fcntl(CONTROL_FD, F_SETFD, 0) == 0) {
		(void)syscall(SYS_execveat, memory, "", argv, environ, AT_EMPTY_PATH);
		(void)fcntl(CONTROL_FD, F_SETFD, FD_CLOEXEC);
	}
	if (memory >= 0)
		close(memory);
	close(image);
}
