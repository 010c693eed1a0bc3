/* Inside: giving up privileges: limits, ids, groups and capabilities. */
#include "launcher.h"

void op_rlimit(struct operation *op)
{
	int resource = (int)take_u32(op);
	struct rlimit limit = {.rlim_cur = take_u64(op)};
	limit.rlim_max = take_u64(op);
	check(setrlimit(resource, &limit), "setrlimit");
}

void op_bounding_set(struct operation *op)
{
	uint64_t keep = take_u64(op);
	for (unsigned long bit = 0; bit < 64; bit++) {
		if ((keep >> bit & 1) || prctl(PR_CAPBSET_DROP, bit, 0, 0, 0) == 0)
			continue;
		if (errno == EINVAL)
			break; /* above the last one that this kernel has */
		fail(errno, "PR_CAPBSET_DROP");
	}
}

void op_groups(struct operation *op)
{
	static gid_t groups[65536];
	uint32_t count = take_u32(op);
	if (count > 65536)
		fail(E2BIG, "groups");
	for (uint32_t i = 0; i < count; i++)
		groups[i] = take_u32(op);
	check(setgroups(count, groups), "setgroups");
}

void op_ids(struct operation *op)
{
	uid_t uid = take_u32(op);
	gid_t gid = take_u32(op);
	int dumpable = prctl(PR_GET_DUMPABLE, 0, 0, 0, 0);
	check(prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0), "PR_SET_KEEPCAPS"); /* op_capabilities decides what stays */
	check(setresgid(gid, gid, gid), "setresgid");
	check(setresuid(uid, uid, uid), "setresuid");
	/* The kernel has now made us what fs.suid_dumpable says; but what runs in a sandbox must not look into one who enters it. */
	if (dumpable == 0)
		check(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), "PR_SET_DUMPABLE");
}

/*
 * Root's own id is not mapped inside, so it has to be a mapped one that makes things there. The change takes our files in /proc
 * from us unless we ask for them back; nothing hostile runs yet that could use that.
 */
void op_become(struct operation *op)
{
	op_ids(op);
	check(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), "PR_SET_DUMPABLE");
}

static void set_capabilities(uint64_t permitted, uint64_t effective, uint64_t inheritable)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];
	for (int i = 0; i < 2; i++) {
		data[i] = (struct __user_cap_data_struct){.permitted = (uint32_t)(permitted >> (32 * i)),
							  .effective = (uint32_t)(effective >> (32 * i)),
							  .inheritable = (uint32_t)(inheritable >> (32 * i))};
	}
	check(syscall(SYS_capset, &header, data), "capset");
}

/* All sets but the bounding set; the last thing that needs a capability has been done. */
void op_capabilities(struct operation *op)
{
	uint64_t permitted = take_u64(op), effective = take_u64(op), inheritable = take_u64(op), ambient = take_u64(op);
	check(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), "PR_CAP_AMBIENT_CLEAR_ALL");
	set_capabilities(permitted, effective, inheritable);
	for (unsigned long bit = 0; bit < 64; bit++)
		if (ambient >> bit & 1)
			check(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, bit, 0, 0), "PR_CAP_AMBIENT_RAISE");
}

/* Needs CAP_SETPCAP, which a change of the user id has kept as permitted but taken out of effect. */
void op_secure_bits(struct operation *op)
{
	uint32_t bits = take_u32(op);
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];
	check(syscall(SYS_capget, &header, data), "capget");
	uint64_t permitted = data[0].permitted | (uint64_t)data[1].permitted << 32;
	uint64_t inheritable = data[0].inheritable | (uint64_t)data[1].inheritable << 32;
	set_capabilities(permitted, permitted, inheritable);
	check(prctl(PR_SET_SECUREBITS, bits, 0, 0, 0), "PR_SET_SECUREBITS");
}

/* The caller's session keyring may hold keys that the kernel itself would use for the sandbox: keyrings(7). */
void op_session_keyring(void)
{
	enum { JOIN_SESSION_KEYRING = 1 };
	if (syscall(SYS_keyctl, JOIN_SESSION_KEYRING, NULL, 0, 0, 0) < 0 && errno != ENOSYS) /* a kernel without keys */
		fail(errno, "KEYCTL_JOIN_SESSION_KEYRING");
}
