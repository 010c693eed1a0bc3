/*
 * Starts a program so that nobody of its own user can look into it: `casemate-hidden-start PROGRAM ARGUMENT...`.
 *
 * A process may hide itself (PR_SET_DUMPABLE), but execve(2) makes it visible again, unless the file that it executes cannot be
 * read. So what is executed is a copy of the program's dynamic loader that nobody may read, with the program as its first
 * argument: the process is hidden from its first moment on, from ptrace(2), /proc/PID/mem, process_vm_readv(2), pidfd_getfd(2)
 * and core dumps, unless somebody has CAP_SYS_PTRACE. A root is left two of its capabilities.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
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

int main(int count, char **arguments)
{
	if (count < 2) {
		dprintf(2, "usage: casemate-hidden-start PROGRAM ARGUMENT...\n");
		return 2;
	}
	hide();
	const char *loader = loader_of(arguments[1]);
	int copy = unreadable_copy(loader ? loader : arguments[1]);
	drop_capabilities();
	/* The loader's own name takes the place of ours; for a program without one, its own does. */
	char **given = loader ? arguments : arguments + 1;
	syscall(SYS_execveat, copy, "", given, environ, AT_EMPTY_PATH);
	fail("execveat");
}
