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
	check(prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0), "PR_SET_KEEPCAPS"); /* op_capabilities decides what stays */
	check(setresgid(gid, gid, gid), "setresgid");
	check(setresuid(uid, uid, uid), "setresuid");
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

void op_capabilities(struct operation *op)
{
	uint64_t keep = take_u64(op);
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];
	for (int i = 0; i < 2; i++) {
		uint32_t half = (uint32_t)(keep >> (32 * i));
		data[i] = (struct __user_cap_data_struct){.effective = half, .permitted = half, .inheritable = half};
	}
	check(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), "PR_CAP_AMBIENT_CLEAR_ALL");
	check(syscall(SYS_capset, &header, data), "capset");
	for (unsigned long bit = 0; bit < 64; bit++)
		if (keep >> bit & 1)
			check(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, bit, 0, 0), "PR_CAP_AMBIENT_RAISE");
}
