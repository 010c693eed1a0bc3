/*
 * Starts a program so that nobody of its own user can look into it: `casemate-hidden-start [--pairs FIRST COUNT] PROGRAM ARGUMENT...`.
 *
 * A process may hide itself (PR_SET_DUMPABLE), but execve(2) makes it visible again, unless the file that it executes cannot be
 * read. So what is executed is a copy of the program's dynamic loader that nobody may read, with the program as its first
 * argument: the process is hidden from its first moment on, from ptrace(2), /proc/PID/mem, process_vm_readv(2), pidfd_getfd(2)
 * and core dumps, unless somebody has CAP_SYS_PTRACE. A root is left two of its capabilities.
 *
 * With --pairs the program finds COUNT connected pairs of stream sockets, the ends of each at FIRST + 2 i and FIRST + 2 i + 1: nobody
 * else has them, and a thread of Node, which can make none itself, may wait in a read of one.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MFD_EXEC
#define MFD_EXEC 0x10u
#endif

extern char **environ;

static _Noreturn void fail(const char *what)
{
	dprintf(2, "start the isolate hidden: %s: %s\n", what, strerror(errno));
	_exit(1);
}

/* From here on nobody can attach; who had attached before would stay. */
static void hide(void)
{
	struct rlimit none = {0, 0};
	char status[4096];
	if (prctl(PR_SET_DUMPABLE, 0) || setrlimit(RLIMIT_CORE, &none))
		fail("PR_SET_DUMPABLE");
	int file = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	ssize_t length = file < 0 ? -1 : read(file, status, sizeof status - 1);
	if (length < 0)
		fail("/proc/self/status");
	status[length] = 0;
	close(file);
	errno = EPERM;
	if (!strstr(status, "\nTracerPid:\t0\n"))
		fail("somebody traces this process");
}

/* Where the program names its loader; a static program has none, and is copied itself. */
static const char *loader_of(const char *program)
{
	static char name[4096];
	Elf64_Ehdr head;
	int file = open(program, O_RDONLY | O_CLOEXEC);
	if (file < 0 || pread(file, &head, sizeof head, 0) != (ssize_t)sizeof head || memcmp(head.e_ident, ELFMAG, SELFMAG) ||
	    head.e_ident[EI_CLASS] != ELFCLASS64)
		fail(program);
	for (uint32_t i = 0; i < head.e_phnum; i++) {
		Elf64_Phdr part;
		if (pread(file, &part, sizeof part, (off_t)(head.e_phoff + i * sizeof part)) != (ssize_t)sizeof part)
			fail(program);
		if (part.p_type != PT_INTERP)
			continue;
		if (part.p_filesz >= sizeof name || pread(file, name, part.p_filesz, (off_t)part.p_offset) < 0)
			fail(program);
		close(file);
		return name;
	}
	close(file);
	return NULL;
}

static int unreadable_copy(const char *path)
{
	struct stat found;
	int from = open(path, O_RDONLY | O_CLOEXEC);
	if (from < 0 || fstat(from, &found))
		fail(path);
	int to = memfd_create("casemate-isolate", MFD_CLOEXEC | MFD_EXEC);
	if (to < 0 && errno == EINVAL) /* before Linux 6.3 */
		to = memfd_create("casemate-isolate", MFD_CLOEXEC);
	if (to < 0)
		fail("memfd_create");
	for (off_t left = found.st_size; left > 0;) {
		ssize_t sent = sendfile(to, from, NULL, (size_t)left);
		if (sent <= 0)
			fail(path);
		left -= sent;
	}
	if (fchmod(to, 0111))
		fail("fchmod");
	close(from);
	return to;
}

/* Root may read what nobody may read. It gives that up for the moment of the start, and most of the rest for good. */
static void drop_capabilities(void)
{
	const uint64_t kept = 1ull << CAP_DAC_READ_SEARCH | 1ull << CAP_IPC_LOCK;
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct sets[2];
	for (unsigned long i = 0; i < 64; i++)
		if (!(kept >> i & 1) && prctl(PR_CAPBSET_READ, i, 0, 0, 0) == 1)
			(void)prctl(PR_CAPBSET_DROP, i, 0, 0, 0); /* without CAP_SETPCAP there is nothing to lose */
	if (syscall(SYS_capget, &head, sets))
		fail("capget");
	for (int i = 0; i < 2; i++) {
		sets[i].permitted &= (uint32_t)(kept >> 32 * i);
		sets[i].effective = 0;
		sets[i].inheritable = 0;
	}
	if (syscall(SYS_capset, &head, sets) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		fail("capset");
}

/* Fewer of them where there may not be so many open files; the program sees which there are. */
static void make_pairs(int first, int count)
{
	int behind = first + 2 * count;
	for (int i = 0; i < count; i++) {
		int ends[2], moved[2];
		if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends))
			return;
		for (int end = 0; end < 2; end++) {
			moved[end] = fcntl(ends[end], F_DUPFD, behind);
			close(ends[end]);
		}
		for (int end = 0; end < 2; end++)
			if (moved[end] >= 0 && moved[!end] >= 0 && dup2(moved[end], first + 2 * i + end) < 0)
				fail("dup2");
		for (int end = 0; end < 2; end++)
			if (moved[end] >= 0)
				close(moved[end]);
		if (moved[0] < 0 || moved[1] < 0)
			return;
	}
}

int main(int count, char **arguments)
{
	int has_pairs = count > 4 && strcmp(arguments[1], "--pairs") == 0;
	int first = has_pairs ? atoi(arguments[2]) : 0, pairs = has_pairs ? atoi(arguments[3]) : 0;
	if (count < 2 || (has_pairs && (first < 3 || first > 1000 || pairs < 0 || pairs > 1000))) {
		dprintf(2, "usage: casemate-hidden-start [--pairs FIRST COUNT] PROGRAM ARGUMENT...\n");
		return 2;
	}
	if (has_pairs)
		arguments += 3;
	hide();
	make_pairs(first, pairs);
	const char *loader = loader_of(arguments[1]);
	int copy = unreadable_copy(loader ? loader : arguments[1]);
	drop_capabilities();
	/* The loader's own name takes the place of ours; for a program without one, its own does. */
	char **given = loader ? arguments : arguments + 1;
	syscall(SYS_execveat, copy, "", given, environ, AT_EMPTY_PATH);
	fail("execveat");
}
