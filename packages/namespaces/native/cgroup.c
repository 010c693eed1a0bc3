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

/*
 * To move another process the kernel stops all forks and exits of the machine for a moment, but not when a thread moves itself. So the
 * inside does that, by the files that we open with our own rights. Returns how many there are, in the order of the plan.
 */
uint32_t open_v1_cgroups(int fds[MAX_CGROUPS])
{
	char path[MAX_PATH + 8];
	uint32_t count = 0;
	for (uint32_t i = 0; i < operation_count; i++) {
		if (operations[i].code != OP_CGROUP)
			continue;
		current = i;
		struct operation op = operations[i];
		uint32_t version = take_u32(&op);
		const char *directory = take_text(&op);
		if (version == 2)
			continue; /* clone3 has put it there */
		if ((size_t)snprintf(path, sizeof path, "%s/tasks", directory) >= sizeof path || count == MAX_CGROUPS)
			fail(ENAMETOOLONG, directory);
		fds[count] = open(path, O_WRONLY | O_CLOEXEC);
		check(fds[count++], directory);
	}
	return count;
}

/* Inside, the only thread of a process whose number here the kernel knows as 0. */
void enter_v1_cgroups(const int *fds, uint32_t count)
{
	for (uint32_t i = 0, next = 0; i < operation_count && next < count; i++) {
		if (operations[i].code != OP_CGROUP)
			continue;
		struct operation op = operations[i];
		if (take_u32(&op) == 2)
			continue;
		current = progress->operation = i;
		check(write(fds[next], "0", 1), take_text(&op));
		close(fds[next++]);
	}
}

/* For the joiner, whose child is born where it is. */
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
