/* Outside: the control groups that were made for the sandbox. */
#include "launcher.h"

void op_cgroup(struct operation *op)
{
	if (cgroup_count == MAX_CGROUPS)
		fail(E2BIG, "cgroup");
	struct cgroup *group = &cgroups[cgroup_count++];
	group->version = take_u32(op);
	group->path = take_text(op);
}

void join_v1_cgroups(void)
{
	char pid[16];
	snprintf(pid, sizeof pid, "%d", (int)child);
	for (uint32_t i = 0; i < operation_count; i++) {
		if (operations[i].code != OP_CGROUP)
			continue;
		current = i;
		struct operation op = operations[i];
		uint32_t version = take_u32(&op);
		const char *path = take_text(&op);
		if (version == 2)
			continue; /* clone3 has put it there */
		int dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
		check(dir, path);
		check(write_file_at(dir, "cgroup.procs", pid), path);
		close(dir);
	}
}

int open_v2_cgroup(void)
{
	for (uint32_t i = 0; i < cgroup_count; i++) {
		if (cgroups[i].version != 2)
			continue;
		int fd = open(cgroups[i].path, O_PATH | O_DIRECTORY | O_CLOEXEC);
		check(fd, cgroups[i].path);
		return fd;
	}
	return -1;
}

void remove_cgroups(void)
{
	char home[MAX_PATH];
	for (uint32_t i = 0; i < cgroup_count; i++) {
		const char *path = cgroups[i].path, *slash = strrchr(path, '/');
		struct timespec pause = {.tv_nsec = 2000000};
		for (int tries = 0; rmdir(path) < 0 && errno == EBUSY && tries < 500; tries++)
			nanosleep(&pause, NULL);
		if (!slash || (size_t)(slash - path) >= sizeof home)
			continue;
		memcpy(home, path, (size_t)(slash - path));
		home[slash - path] = 0;
		const char *name = strrchr(home, '/');
		if (name && strcmp(name, "/casemate") == 0)
			(void)rmdir(home); /* refused by the kernel while others use it */
	}
}
