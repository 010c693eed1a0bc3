/* Id maps: of the sandbox, written by us or by newuidmap and newgidmap, and of user namespaces that only a mount uses. */
#include "launcher.h"

#define MAX_RANGES 340u
#define MAP_SIZE (MAX_RANGES * 33u + 1) /* three numbers of ten digits */

/* Reads ranges into the text that /proc/PID/uid_map takes; returns how many they are. */
static uint32_t take_ranges(struct operation *op, char text[MAP_SIZE], const char *what)
{
	uint32_t count = take_u32(op);
	size_t used = 0;
	if (count > MAX_RANGES)
		fail(E2BIG, what);
	text[0] = 0;
	for (uint32_t i = 0; i < count; i++) {
		uint32_t inner = take_u32(op), outer = take_u32(op), size = take_u32(op);
		used += (size_t)snprintf(text + used, MAP_SIZE - used, "%u %u %u\n", inner, outer, size);
	}
	return count;
}

/* Runs a helper and reads what it complains about; `complaint` becomes its first line. Returns its status. */
static int run_helper(char *const argv[], char *complaint, size_t room)
{
	int output[2], status;
	check(pipe2(output, O_CLOEXEC), argv[0]);
	pid_t pid = fork();
	check(pid, argv[0]);
	if (pid == 0) {
		char *const env[] = {NULL};
		if (dup2(output[1], STDOUT_FILENO) < 0 || dup2(output[1], STDERR_FILENO) < 0)
			_exit(127);
		execve(argv[0], argv, env);
		_exit(127);
	}
	close(output[1]);
	size_t used = 0;
	for (ssize_t n; used < room - 1 && (n = read(output[0], complaint + used, room - 1 - used)) != 0;) {
		if (n > 0)
			used += (size_t)n;
		else if (errno != EINTR)
			break;
	}
	complaint[used] = 0;
	complaint[strcspn(complaint, "\n")] = 0;
	close(output[0]);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			fail(errno, argv[0]);
	return status;
}

/* newuidmap PID INSIDE OUTSIDE COUNT …; it is set-uid root and checks the ranges against /etc/subuid itself. */
static void run_map_helper(const char *helper, char *text)
{
	static char *argv[MAX_RANGES * 3 + 3];
	char pid[16], complaint[256], path[MAX_PATH];
	size_t count = 0;
	snprintf(pid, sizeof pid, "%d", (int)child);
	snprintf(path, sizeof path, "%s", helper);
	argv[count++] = path;
	argv[count++] = pid;
	for (char *rest = text, *word; (word = strtok_r(rest, " \n", &rest)) != NULL;)
		argv[count++] = word;
	argv[count] = NULL;
	int status = run_helper(argv, complaint, sizeof complaint);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		fail(ENOENT, helper);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		fail(EPERM, complaint[0] ? complaint : helper);
}

void op_id_map(struct operation *op, const char *file)
{
	static char text[MAP_SIZE];
	const char *helper = take_text(op);
	(void)take_ranges(op, text, file);
	if (helper[0])
		run_map_helper(helper, text);
	else
		write_child_file(file, text);
}

/*
 * A user namespace that nobody lives in, for an id-mapped mount. The process that makes it shares our descriptors: it opens its
 * own directory in /proc, which is the only name of it that holds whatever pid namespace that /proc shows.
 */
static int make_user_namespace(const char *uids, const char *gids, const char *what)
{
	int ready[2], directory = -1;
	check(pipe2(ready, O_CLOEXEC), what);
	long pid = syscall(SYS_clone, CLONE_NEWUSER | CLONE_FILES | SIGCHLD, NULL, NULL, NULL, NULL);
	check(pid, what);
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
		directory = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (write(ready[1], &directory, sizeof directory) == sizeof directory)
			for (;;)
				pause();
		_exit(1);
	}
	if (read(ready[0], &directory, sizeof directory) != sizeof directory)
		directory = -1;
	int namespace = -1, error = EPROTO;
	if (directory >= 0 && write_file_at(directory, "uid_map", uids) == 0 && write_file_at(directory, "gid_map", gids) == 0)
		namespace = openat(directory, "ns/user", O_RDONLY | O_CLOEXEC);
	if (namespace < 0 && directory >= 0)
		error = errno;
	(void)kill((pid_t)pid, SIGKILL);
	while (waitpid((pid_t)pid, NULL, 0) < 0 && errno == EINTR)
		;
	close(ready[0]);
	close(ready[1]);
	close(directory);
	if (namespace < 0)
		fail(error, what);
	return namespace;
}

int take_own_namespace(struct operation *op, const char *what)
{
	static char uids[MAP_SIZE], gids[MAP_SIZE];
	uint32_t count = take_ranges(op, uids, what);
	(void)take_ranges(op, gids, what);
	return count > 0 ? make_user_namespace(uids, gids, what) : -1;
}

int take_owners(struct operation *op, const char *what)
{
	enum { STORED, OF_SANDBOX };
	char path[64];
	uint32_t kind = take_u32(op);
	int own = take_own_namespace(op, what);
	if (kind != OF_SANDBOX)
		return own;
	snprintf(path, sizeof path, "/proc/%d/ns/user", (int)child);
	int users = open(path, O_RDONLY | O_CLOEXEC);
	check(users, path);
	return users;
}

void show_owners(int mount, int owners, unsigned recursive, uint64_t propagation, const char *what)
{
	struct mount_attr attr = {.propagation = propagation};
	if (owners >= 0) {
		attr.attr_set = MOUNT_ATTR_IDMAP;
		attr.userns_fd = (uint32_t)owners;
	}
	check(sys_mount_setattr(mount, "", AT_EMPTY_PATH | recursive, &attr), what);
	if (owners >= 0)
		close(owners);
}
