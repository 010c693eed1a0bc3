/* Inside: Landlock, a list of what stays possible that the kernel keeps even against root (landlock(7)). */
#include "launcher.h"

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule 445
#define SYS_landlock_restrict_self 446
#endif

#define CREATE_VERSION 1u
#define RULE_PATH 1
#define RULE_PORT 2
#define FILE_RIGHTS 0xc007ull /* execute, write, read, truncate, ioctl: all others are of directories */

/* linux/landlock.h as of ABI 6; older kernels take its beginning. */
struct ruleset {
	uint64_t files, ports, scopes;
};
struct __attribute__((packed)) path_rule {
	uint64_t access;
	int32_t fd;
};
struct port_rule {
	uint64_t access, port;
};

/* What each version brought. */
static struct ruleset rights_of(long abi)
{
	static const uint64_t files[] = {0, 0x1fff, 0x3fff, 0x7fff, 0x7fff, 0xffff};
	struct ruleset rights = {0};
	if (abi > 0)
		rights.files = files[abi < 5 ? abi : 5];
	if (abi >= 4)
		rights.ports = 3;
	if (abi >= 6)
		rights.scopes = 3;
	return rights;
}

static uint64_t handled(uint64_t required, uint64_t optional, uint64_t known, long abi, const char *what)
{
	char detail[64];
	if (required & ~known) {
		snprintf(detail, sizeof detail, "%s, Landlock ABI %ld", what, abi);
		fail(EOPNOTSUPP, detail);
	}
	return required | (optional & known);
}

/* The paths are those of the new root, whose links are not followed: a rule means the very file that it names. */
static void allow_path(int ruleset, struct operation *op, uint64_t rights)
{
	struct stat status;
	uint64_t access = take_u64(op) & rights;
	uint32_t optional = take_u32(op);
	const char *path = take_text(op);
	int fd = sys_openat2(AT_FDCWD, path, O_PATH | O_CLOEXEC, 0, RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
	if (fd < 0 && errno == ENOENT && optional)
		return;
	check(fd, path);
	check(fstat(fd, &status), path);
	if (!S_ISDIR(status.st_mode))
		access &= FILE_RIGHTS;
	struct path_rule rule = {.access = access, .fd = fd};
	if (access)
		check(syscall(SYS_landlock_add_rule, ruleset, RULE_PATH, &rule, 0), path);
	close(fd);
}

static void allow_port(int ruleset, struct operation *op, uint64_t rights)
{
	char detail[24];
	uint64_t access = take_u32(op) & rights, port = take_u32(op);
	struct port_rule rule = {.access = access, .port = port};
	snprintf(detail, sizeof detail, "port %u", (unsigned)rule.port);
	if (rule.access)
		check(syscall(SYS_landlock_add_rule, ruleset, RULE_PORT, &rule, 0), detail);
}

void op_landlock(struct operation *op)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, CREATE_VERSION);
	struct ruleset known = rights_of(abi), wanted;
	uint64_t required = take_u64(op);
	wanted.files = handled(required, take_u64(op), known.files, abi, "file rights");
	required = take_u32(op);
	wanted.ports = handled(required, take_u32(op), known.ports, abi, "port rights");
	required = take_u32(op);
	wanted.scopes = handled(required, take_u32(op), known.scopes, abi, "scopes");
	int is_empty = !wanted.files && !wanted.ports && !wanted.scopes;
	int ruleset = -1;
	if (!is_empty) {
		size_t size = abi < 4 ? 8 : abi < 6 ? 16 : 24;
		ruleset = (int)syscall(SYS_landlock_create_ruleset, &wanted, size, 0);
		check(ruleset, "landlock_create_ruleset");
	}
	for (uint32_t i = 0, count = take_u32(op); i < count; i++)
		allow_path(ruleset, op, wanted.files);
	for (uint32_t i = 0, count = take_u32(op); i < count; i++)
		allow_port(ruleset, op, wanted.ports);
	if (is_empty)
		return; /* nothing was required, and this kernel has nothing of the rest */
	check(syscall(SYS_landlock_restrict_self, ruleset, 0), "landlock_restrict_self");
	close(ruleset);
}
