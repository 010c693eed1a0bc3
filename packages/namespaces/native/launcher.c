/*
 * casemate-launcher: performs the operations of one plan and then watches the sandbox until it ends.
 *
 * Descriptor 3 is a stream socket to whoever started it. The plan comes in there (src/operations.ts has the format); events go
 * out (src/protocol.ts). When that socket closes, the starter is gone, and so the sandbox ends.
 *
 * Three places in the code matter for security, and each says who controls its input:
 *  - the plan is written by the starter, who has our privileges anyway: it is checked for shape, not for intent;
 *  - the root file system may be hostile: everything below it is opened with openat2 and no symbolic link is followed;
 *  - once exec has happened the sandbox is hostile: it holds no descriptor of ours and cannot open our image.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CONTROL_FD 3
#define MAX_PLAN (4u << 20)
#define MAX_OPERATIONS 4096u
#define MAX_SLOTS 250u
#define MAX_PATH 4096u
#define NO_SLOT 0xffffffffu
#define NO_OPERATION 0xffffffffu
#define FAILED_STATUS 125

/* Mount attributes and flags that older headers lack. */
#ifndef MOUNT_ATTR_IDMAP
#define MOUNT_ATTR_IDMAP 0x00100000
#endif
#ifndef OPEN_TREE_CLONE
#define OPEN_TREE_CLONE 1
#endif
#ifndef MOVE_MOUNT_F_EMPTY_PATH
#define MOVE_MOUNT_F_EMPTY_PATH 0x00000004
#define MOVE_MOUNT_T_EMPTY_PATH 0x00000040
#endif
#ifndef MS_PRIVATE
#define MS_PRIVATE (1 << 18)
#endif
#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1u << 2)
#endif
#define AT_RECURSIVE_TREE 0x8000
#define MNT_DETACH_FLAG 2

#define NEW_LATER (CLONE_NEWCGROUP | CLONE_NEWTIME) /* entered inside, see op_cgroup_namespace and op_time_namespace */

enum code {
	OP_NAMESPACES = 1,
	OP_CGROUP = 2,
	OP_DENY_SETGROUPS = 10,
	OP_UID_MAP = 11,
	OP_GID_MAP = 12,
	OP_OOM_SCORE = 13,
	OP_TREE = 14,
	OP_CGROUP_NAMESPACE = 20,
	OP_TIME_NAMESPACE = 21,
	OP_PRIVATE_MOUNTS = 22,
	OP_STAGE = 23,
	OP_BIND = 24,
	OP_OVERLAY = 25,
	OP_MOUNT = 26,
	OP_DIRECTORY = 27,
	OP_SYMLINK = 28,
	OP_MASK = 29,
	OP_READ_ONLY_PATH = 30,
	OP_PIVOT_ROOT = 31,
	OP_BECOME = 32,
	OP_HOSTNAME = 40,
	OP_LOOPBACK_UP = 41,
	OP_RLIMIT = 42,
	OP_NEW_SESSION = 43,
	OP_UMASK = 44,
	OP_BOUNDING_SET = 45,
	OP_GROUPS = 46,
	OP_IDS = 47,
	OP_CAPABILITIES = 48,
	OP_NO_NEW_PRIVILEGES = 49,
	OP_CHANGE_DIRECTORY = 50,
	OP_INIT = 51,
	OP_SECCOMP = 52,
	OP_EXEC = 53,
};

enum event { EVENT_STARTED = 1, EVENT_FAILED = 2, EVENT_RUNNING = 3, EVENT_EXITED = 4, EVENT_PROBE = 5 };

/* One operation as it lies in the plan. */
struct operation {
	uint16_t code;
	const unsigned char *at;
	const unsigned char *end;
};

/* A directory that was made for us as a cgroup. */
struct cgroup {
	uint32_t version;
	const char *path;
};

static struct operation operations[MAX_OPERATIONS];
static uint32_t operation_count;
static uint32_t current = NO_OPERATION; /* index of the operation that is being performed */

static int report_fd = CONTROL_FD; /* where events go: the starter, or inside the sandbox the outer half of us */
static int inside;                 /* whether this process is inside the sandbox */
static pid_t child = -1;
static int child_pidfd = -1;
static struct cgroup cgroups[32];
static uint32_t cgroup_count;
static uint64_t namespaces;

static int slots[MAX_SLOTS]; /* id-mapped trees, made outside and handed inside */
static uint32_t slot_count;
static int stage_fd = -1; /* root of the staging tmpfs */
static int root_fd = -1;  /* root of the new root */
static uint32_t overlay_count;
static int wants_init;

/* ---- system calls without a wrapper in every C library ---- */

static int sys_openat2(int dir, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve)
{
	struct open_how how = {.flags = flags, .mode = mode, .resolve = resolve};
	return (int)syscall(SYS_openat2, dir, path, &how, sizeof how);
}

static int sys_open_tree(int dir, const char *path, unsigned flags)
{
	return (int)syscall(SYS_open_tree, dir, path, flags);
}

static int sys_move_mount(int from, int to)
{
	return (int)syscall(SYS_move_mount, from, "", to, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
}

static int sys_mount_setattr(int fd, const char *path, unsigned flags, struct mount_attr *attr)
{
	return (int)syscall(SYS_mount_setattr, fd, path, flags, attr, sizeof *attr);
}

static int sys_fsopen(const char *name)
{
	return (int)syscall(SYS_fsopen, name, 1 /* FSOPEN_CLOEXEC */);
}

static int sys_fsconfig(int fd, unsigned command, const char *key, const char *value)
{
	return (int)syscall(SYS_fsconfig, fd, command, key, value, 0);
}

static int sys_fsmount(int fd, uint64_t attributes)
{
	return (int)syscall(SYS_fsmount, fd, 1 /* FSMOUNT_CLOEXEC */, (unsigned)attributes);
}

static int sys_unshare(unsigned long flags)
{
	return (int)syscall(SYS_unshare, flags);
}

static int sys_pidfd_send_signal(int pidfd, int signal)
{
	return (int)syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0);
}

/* ---- events ---- */

static void put_u32(unsigned char *at, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		at[i] = (unsigned char)(value >> (8 * i));
}

static int write_all(int fd, const void *data, size_t size)
{
	const unsigned char *at = data;
	while (size > 0) {
		ssize_t n = send(fd, at, size, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		at += n;
		size -= (size_t)n;
	}
	return 0;
}

/* An event: type, two numbers, text. A failure to send is not reported: whoever would read it is gone. */
static void send_event(int fd, enum event type, uint32_t a, uint32_t b, const char *text)
{
	static unsigned char frame[16 + 8192];
	size_t length = strnlen(text, 8192);
	put_u32(frame, (uint32_t)(12 + length));
	put_u32(frame + 4, type);
	put_u32(frame + 8, a);
	put_u32(frame + 12, b);
	memcpy(frame + 16, text, length);
	(void)write_all(fd, frame, 16 + length);
}

static void stop_child(void);

/* Reports that the current operation failed, and ends this process. */
__attribute__((noreturn)) static void fail(int error, const char *detail)
{
	send_event(report_fd, EVENT_FAILED, current, (uint32_t)error, detail);
	if (!inside)
		stop_child();
	_exit(FAILED_STATUS);
}

static void check(long result, const char *detail)
{
	if (result < 0)
		fail(errno, detail);
}

/* ---- reading the plan: its shape is checked, every read is bounded ---- */

static uint32_t take_u32(struct operation *op)
{
	if (op->end - op->at < 4)
		fail(EBADMSG, "plan");
	uint32_t value = 0;
	for (int i = 0; i < 4; i++)
		value |= (uint32_t)op->at[i] << (8 * i);
	op->at += 4;
	return value;
}

static uint64_t take_u64(struct operation *op)
{
	uint64_t low = take_u32(op);
	return low | (uint64_t)take_u32(op) << 32;
}

static const unsigned char *take_bytes(struct operation *op, uint32_t *size)
{
	*size = take_u32(op);
	if ((size_t)(op->end - op->at) < *size)
		fail(EBADMSG, "plan");
	const unsigned char *at = op->at;
	op->at += *size;
	return at;
}

/* Text ends in a zero byte that its length counts, so it can be used where it lies. */
static const char *take_text(struct operation *op)
{
	uint32_t size;
	const char *text = (const char *)take_bytes(op, &size);
	if (size == 0 || memchr(text, 0, size) != text + size - 1)
		fail(EBADMSG, "plan");
	return text;
}

static void end_of(const struct operation *op)
{
	if (op->at != op->end)
		fail(EBADMSG, "plan");
}

static void read_exactly(int fd, unsigned char *to, size_t size)
{
	while (size > 0) {
		ssize_t n = read(fd, to, size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			_exit(FAILED_STATUS); /* the starter is gone */
		to += n;
		size -= (size_t)n;
	}
}

static void read_plan(uint32_t size)
{
	if (size > MAX_PLAN)
		fail(E2BIG, "plan");
	unsigned char *bytes = malloc(size + 1u);
	if (!bytes)
		fail(ENOMEM, "plan");
	read_exactly(CONTROL_FD, bytes, size);
	struct operation plan = {.at = bytes, .end = bytes + size};
	operation_count = take_u32(&plan);
	if (operation_count > MAX_OPERATIONS)
		fail(E2BIG, "plan");
	for (uint32_t i = 0; i < operation_count; i++) {
		if (plan.end - plan.at < 2)
			fail(EBADMSG, "plan");
		operations[i].code = (uint16_t)(plan.at[0] | plan.at[1] << 8);
		plan.at += 2;
		uint32_t length;
		operations[i].at = take_bytes(&plan, &length);
		operations[i].end = operations[i].at + length;
	}
	end_of(&plan);
}

/* ---- files ---- */

static int write_file_at(int dir, const char *path, const char *text)
{
	int fd = openat(dir, path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	ssize_t n = write(fd, text, strlen(text));
	int saved = errno;
	close(fd);
	errno = saved;
	return n < 0 ? -1 : 0;
}

static void write_child_file(const char *name, const char *text)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/%s", (int)child, name);
	check(write_file_at(AT_FDCWD, path, text), name);
}

/* ---- outside: cgroups, id maps, id-mapped trees ---- */

static void op_cgroup(struct operation *op)
{
	if (cgroup_count == sizeof cgroups / sizeof *cgroups)
		fail(E2BIG, "cgroup");
	struct cgroup *group = &cgroups[cgroup_count++];
	group->version = take_u32(op);
	group->path = take_text(op);
}

static void join_v1_cgroups(void)
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

/* newuidmap PID INSIDE OUTSIDE COUNT …; it is set-uid root and checks the ranges against /etc/subuid itself. */
static void run_map_helper(const char *helper, char *const argv[])
{
	pid_t pid = fork();
	check(pid, helper);
	if (pid == 0) {
		char *const env[] = {NULL};
		execve(helper, argv, env);
		_exit(127);
	}
	int status;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			fail(errno, helper);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		fail(WIFEXITED(status) && WEXITSTATUS(status) == 127 ? ENOENT : EPERM, helper);
}

static void op_id_map(struct operation *op, const char *file)
{
	static char text[340 * 36];
	static char numbers[340 * 3 + 1][12];
	static char *argv[340 * 3 + 3];
	const char *helper = take_text(op);
	uint32_t count = take_u32(op);
	size_t used = 0;
	if (count > 340)
		fail(E2BIG, file);
	snprintf(numbers[0], sizeof numbers[0], "%d", (int)child);
	argv[0] = strdup(helper);
	argv[1] = numbers[0];
	for (uint32_t i = 0; i < count; i++) {
		uint32_t range[3] = {take_u32(op), take_u32(op), take_u32(op)};
		for (uint32_t j = 0; j < 3; j++) {
			char *number = numbers[1 + i * 3 + j];
			snprintf(number, sizeof numbers[0], "%u", range[j]);
			argv[2 + i * 3 + j] = number;
		}
		used += (size_t)snprintf(text + used, sizeof text - used, "%u %u %u\n", range[0], range[1], range[2]);
	}
	argv[2 + count * 3] = NULL;
	if (helper[0])
		run_map_helper(helper, argv);
	else
		write_child_file(file, text);
}

static void show_ids_of_child(int tree, unsigned recursive, const char *source)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/ns/user", (int)child);
	int users = open(path, O_RDONLY | O_CLOEXEC);
	check(users, path);
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_IDMAP, .propagation = MS_PRIVATE, .userns_fd = (uint32_t)users};
	check(sys_mount_setattr(tree, "", AT_EMPTY_PATH | recursive, &attr), source);
	close(users);
}

/* A detached copy of a tree, made while we still see it as root does; its owners may be shown through the sandbox's id map. */
static void op_tree(struct operation *op)
{
	uint32_t slot = take_u32(op);
	unsigned recursive = take_u32(op) ? AT_RECURSIVE_TREE : 0;
	int id_mapped = take_u32(op) != 0;
	const char *source = take_text(op);
	if (slot != slot_count || slot >= MAX_SLOTS)
		fail(E2BIG, source);
	int tree = sys_open_tree(AT_FDCWD, source, OPEN_TREE_CLONE | O_CLOEXEC | recursive);
	check(tree, source);
	if (id_mapped)
		show_ids_of_child(tree, recursive, source);
	slots[slot_count++] = tree;
}

/* ---- handing over from outside to inside: one message with all the trees ---- */

static void send_slots(int socket)
{
	static union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof slots)];
	} control;
	char go = 'G';
	struct iovec data = {.iov_base = &go, .iov_len = 1};
	struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};
	size_t size = slot_count * sizeof *slots;
	if (slot_count > 0) {
		message.msg_control = control.space;
		message.msg_controllen = (socklen_t)CMSG_SPACE(size);
		struct cmsghdr *header = CMSG_FIRSTHDR(&message);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = (socklen_t)CMSG_LEN(size);
		memcpy(CMSG_DATA(header), slots, size);
	}
	check(sendmsg(socket, &message, MSG_NOSIGNAL), "hand-over");
	for (uint32_t i = 0; i < slot_count; i++)
		close(slots[i]);
}

static void receive_slots(int socket)
{
	static union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof slots)];
	} control;
	char go = 0;
	struct iovec data = {.iov_base = &go, .iov_len = 1};
	struct msghdr message = {
		.msg_iov = &data, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof control.space};
	ssize_t n;
	do
		n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n != 1 || go != 'G')
		_exit(FAILED_STATUS); /* the outer half has failed and reported it */
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	if (!header)
		return;
	slot_count = (uint32_t)((header->cmsg_len - CMSG_LEN(0)) / sizeof *slots);
	memcpy(slots, CMSG_DATA(header), slot_count * sizeof *slots);
}

/* ---- inside: paths below the new root, which may be hostile ---- */

#define INSIDE (RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS)

static int open_inside(const char *path, uint64_t flags)
{
	return sys_openat2(root_fd, path, flags | O_CLOEXEC, 0, INSIDE);
}

/* Opens the directory that holds `path`, and points `name` at the last component. */
static int open_parent(const char *path, const char **name, int make);

static int open_directory(const char *path, int make)
{
	int fd = open_inside(path, O_PATH | O_DIRECTORY);
	if (fd >= 0 || errno != ENOENT || !make)
		return fd;
	const char *name;
	int parent = open_parent(path, &name, 1);
	if (parent < 0)
		return -1;
	int failed = mkdirat(parent, name, 0755);
	int saved = errno;
	close(parent);
	errno = saved;
	if (failed && errno != EEXIST)
		return -1;
	return open_inside(path, O_PATH | O_DIRECTORY);
}

static int open_parent(const char *path, const char **name, int make)
{
	char parent[MAX_PATH];
	const char *slash = strrchr(path, '/');
	size_t length = slash ? (size_t)(slash - path) : 0;
	if (!slash || length >= sizeof parent || slash[1] == 0) {
		errno = EINVAL;
		return -1;
	}
	memcpy(parent, path, length);
	parent[length] = 0;
	*name = slash + 1;
	return open_directory(length ? parent : "/", make);
}

static int make_file(const char *path)
{
	const char *name;
	int parent = open_parent(path, &name, 1);
	if (parent < 0)
		return -1;
	int fd = sys_openat2(parent, name, O_CREAT | O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0644, RESOLVE_BENEATH);
	int saved = errno;
	close(parent);
	errno = saved;
	if (fd < 0)
		return -1;
	close(fd);
	return 0;
}

/* Opens a mount point inside, made if it is missing: a directory for a directory, a file for anything else. */
static int open_target(const char *path, int is_directory)
{
	if (is_directory)
		return open_directory(path, 1);
	int fd = open_inside(path, O_PATH);
	if (fd >= 0 || errno != ENOENT)
		return fd;
	if (make_file(path))
		return -1;
	return open_inside(path, O_PATH);
}

static int is_directory(int fd)
{
	struct stat info;
	check(fstat(fd, &info), "stat");
	return S_ISDIR(info.st_mode);
}

/* Puts a detached mount where the plan wants it; the first one, at "/", becomes the new root. */
static void attach(int mount, const char *target, const char *what)
{
	if (strcmp(target, "/") == 0) {
		check(mkdirat(stage_fd, "root", 0755), what);
		int place = openat(stage_fd, "root", O_PATH | O_DIRECTORY | O_CLOEXEC);
		check(place, what);
		check(sys_move_mount(mount, place), what);
		close(place);
		root_fd = mount;
		return;
	}
	int place = open_target(target, is_directory(mount));
	check(place, target);
	check(sys_move_mount(mount, place), target);
	close(place);
	close(mount);
}

static void set_attributes(int mount, uint64_t attributes, int recursive, const char *what)
{
	struct mount_attr attr = {.attr_set = attributes};
	if (attributes)
		check(sys_mount_setattr(mount, "", (unsigned)AT_EMPTY_PATH | (recursive ? AT_RECURSIVE_TREE : 0u), &attr), what);
}

/* The tree of a layer: one that was made outside, or a detached copy of what lies at a path. */
static int take_tree(struct operation *op, int recursive)
{
	uint32_t slot = take_u32(op);
	const char *source = take_text(op);
	if (slot != NO_SLOT) {
		if (slot >= slot_count || slots[slot] < 0)
			fail(EBADF, source);
		int tree = slots[slot];
		slots[slot] = -1;
		return tree;
	}
	int tree = sys_open_tree(AT_FDCWD, source, OPEN_TREE_CLONE | O_CLOEXEC | (recursive ? (unsigned)AT_RECURSIVE_TREE : 0u));
	check(tree, source);
	return tree;
}

/* ---- inside: mounts ---- */

static void op_private_mounts(void)
{
	struct mount_attr attr = {.propagation = MS_PRIVATE};
	check(sys_mount_setattr(AT_FDCWD, "/", AT_RECURSIVE_TREE, &attr), "/");
}

static int new_tmpfs(const char *size, const char *mode, uint64_t attributes, const char *what)
{
	int fs = sys_fsopen("tmpfs");
	check(fs, what);
	check(sys_fsconfig(fs, FSCONFIG_SET_STRING, "size", size), what);
	check(sys_fsconfig(fs, FSCONFIG_SET_STRING, "mode", mode), what);
	check(sys_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL), what);
	int mount = sys_fsmount(fs, attributes);
	check(mount, what);
	close(fs);
	return mount;
}

/*
 * The staging area is a tmpfs laid over "/". Our own root stays what it was, so absolute paths still mean the outside, while the
 * staging area is reached by its descriptor: no directory of the outside is needed or used.
 */
static void op_stage(void)
{
	stage_fd = new_tmpfs("65536", "0755", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, "stage");
	int top = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	check(top, "/");
	check(sys_move_mount(stage_fd, top), "/");
	close(top);
	check(mkdirat(stage_fd, "empty", 0555), "stage");
	int file = openat(stage_fd, "empty-file", O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0444);
	check(file, "stage");
	close(file);
}

static void op_bind(struct operation *op)
{
	const char *target = take_text(op);
	struct operation layer = *op;
	take_u32(op);
	const char *source = take_text(op);
	int recursive = take_u32(op) != 0;
	uint64_t attributes = take_u64(op);
	int tree = take_tree(&layer, recursive);
	set_attributes(tree, attributes, recursive, source);
	attach(tree, target, source);
}

/* Lays a layer into the staging area under a short name, so that no path of the outside has to be quoted in an option. */
static void stage_layer(int tree, const char *name)
{
	check(mkdirat(stage_fd, name, 0755), name);
	int place = openat(stage_fd, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	check(place, name);
	check(sys_move_mount(tree, place), name);
	close(place);
	close(tree);
}

static void stage_changes(struct operation *op, uint32_t kind, const char *name)
{
	struct operation layer = *op;
	take_u32(op);
	take_text(op);
	const char *size = take_text(op);
	if (kind == 2)
		stage_layer(take_tree(&layer, 0), name);
	if (kind != 1)
		return;
	int memory = new_tmpfs(size, "0755", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, name);
	check(mkdirat(memory, "upper", 0755), name);
	check(mkdirat(memory, "work", 0755), name);
	stage_layer(memory, name);
}

static void op_overlay(struct operation *op)
{
	char lower[1024] = "", name[32], changes[32], path[48];
	const char *target = take_text(op);
	uint32_t count = take_u32(op), number = overlay_count++;
	size_t used = 0;
	if (count > 60)
		fail(E2BIG, target);
	for (uint32_t i = 0; i < count; i++) {
		snprintf(name, sizeof name, "o%ul%u", number, i);
		stage_layer(take_tree(op, 0), name);
		used += (size_t)snprintf(lower + used, sizeof lower - used, "%s%s", i ? ":" : "", name);
	}
	uint32_t kind = take_u32(op);
	snprintf(changes, sizeof changes, "o%uc", number);
	stage_changes(op, kind, changes);
	uint64_t attributes = take_u64(op);
	int user_xattr = take_u32(op) != 0;

	check(fchdir(stage_fd), target); /* the layers are named relative to the staging area */
	int fs = sys_fsopen("overlay");
	check(fs, "overlay");
	check(sys_fsconfig(fs, FSCONFIG_SET_STRING, "lowerdir", lower), target);
	if (kind) {
		snprintf(path, sizeof path, "%s/upper", changes);
		check(sys_fsconfig(fs, FSCONFIG_SET_STRING, "upperdir", path), target);
		snprintf(path, sizeof path, "%s/work", changes);
		check(sys_fsconfig(fs, FSCONFIG_SET_STRING, "workdir", path), target);
	}
	if (user_xattr)
		check(sys_fsconfig(fs, FSCONFIG_SET_FLAG, "userxattr", NULL), target);
	check(sys_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL), target);
	int mount = sys_fsmount(fs, attributes);
	check(mount, target);
	close(fs);
	attach(mount, target, target);
}

static void op_mount(struct operation *op)
{
	const char *target = take_text(op);
	const char *type = take_text(op);
	uint32_t count = take_u32(op);
	int fs = sys_fsopen(type);
	check(fs, type);
	for (uint32_t i = 0; i < count; i++) {
		const char *key = take_text(op);
		const char *value = take_text(op);
		unsigned command = value[0] ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG;
		check(sys_fsconfig(fs, command, key, value[0] ? value : NULL), key);
	}
	uint64_t attributes = take_u64(op);
	check(sys_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL), target);
	int mount = sys_fsmount(fs, attributes);
	check(mount, target);
	close(fs);
	attach(mount, target, target);
}

static void op_directory(struct operation *op)
{
	const char *path = take_text(op);
	uint32_t mode = take_u32(op);
	int fd = open_directory(path, 1);
	check(fd, path);
	close(fd);
	const char *name;
	int parent = open_parent(path, &name, 0);
	check(parent, path);
	check(fchmodat(parent, name, mode, 0), path);
	close(parent);
}

static void op_symlink(struct operation *op)
{
	const char *path = take_text(op);
	const char *content = take_text(op);
	const char *name;
	int parent = open_parent(path, &name, 1);
	check(parent, path);
	check(symlinkat(content, parent, name), path);
	close(parent);
}

/* What is not there needs no hiding. A symbolic link on the way is an error: it might be there to lead the mask astray. */
static int open_if_there(const char *path)
{
	int fd = open_inside(path, O_PATH);
	if (fd < 0 && errno != ENOENT && errno != ENOTDIR)
		fail(errno, path);
	return fd;
}

static void op_mask(struct operation *op)
{
	const char *path = take_text(op);
	int place = open_if_there(path);
	if (place < 0)
		return;
	int cover = sys_open_tree(stage_fd, is_directory(place) ? "empty" : "empty-file", OPEN_TREE_CLONE | O_CLOEXEC);
	check(cover, path);
	set_attributes(cover, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, 0, path);
	check(sys_move_mount(cover, place), path);
	close(place);
	close(cover);
}

static void op_read_only_path(struct operation *op)
{
	const char *path = take_text(op);
	int place = open_if_there(path);
	if (place < 0)
		return;
	int tree = sys_open_tree(place, "", OPEN_TREE_CLONE | O_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE_TREE);
	check(tree, path);
	set_attributes(tree, MOUNT_ATTR_RDONLY, 1, path);
	check(sys_move_mount(tree, place), path);
	close(place);
	close(tree);
}

static void op_pivot_root(void)
{
	int old = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	check(old, "/");
	check(fchdir(root_fd), "root");
	check(syscall(SYS_pivot_root, ".", "."), "root"); /* the old root now lies over the new one */
	check(fchdir(old), "old root");
	/* "." means whatever lies on top: first the staging area, then the old root itself. */
	check(syscall(SYS_umount2, ".", MNT_DETACH_FLAG), "stage");
	check(syscall(SYS_umount2, ".", MNT_DETACH_FLAG), "old root");
	check(chdir("/"), "/");
	close(old);
	close(root_fd);
	close(stage_fd);
	root_fd = stage_fd = -1;
}

/* ---- inside: namespaces that are entered late, host name, network ---- */

/* Only now: a cgroup namespace takes the cgroup of this moment as its root, and we have just been put into ours. */
static void op_cgroup_namespace(void)
{
	check(sys_unshare(CLONE_NEWCGROUP), "unshare");
}

static void op_time_namespace(struct operation *op)
{
	const char *offsets = take_text(op);
	check(sys_unshare(CLONE_NEWTIME), "unshare");
	if (offsets[0])
		check(write_file_at(AT_FDCWD, "/proc/self/timens_offsets", offsets), offsets);
	int fd = open("/proc/self/ns/time_for_children", O_RDONLY | O_CLOEXEC);
	check(fd, "/proc/self/ns/time_for_children");
	check(syscall(SYS_setns, fd, CLONE_NEWTIME), "setns"); /* unshare alone would move our children, not us */
	close(fd);
}

static void op_loopback_up(void)
{
	struct ifreq request = {.ifr_name = "lo"};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	check(fd, "lo");
	check(ioctl(fd, SIOCGIFFLAGS, &request), "lo");
	request.ifr_flags = (short)(request.ifr_flags | IFF_UP);
	check(ioctl(fd, SIOCSIFFLAGS, &request), "lo");
	close(fd);
}

/* ---- inside: giving up privileges ---- */

static void op_rlimit(struct operation *op)
{
	int resource = (int)take_u32(op);
	struct rlimit limit = {.rlim_cur = take_u64(op)};
	limit.rlim_max = take_u64(op);
	check(setrlimit(resource, &limit), "setrlimit");
}

static void op_bounding_set(struct operation *op)
{
	uint64_t keep = take_u64(op);
	for (unsigned long bit = 0; bit < 64; bit++) {
		if (prctl(PR_CAPBSET_READ, bit, 0, 0, 0) < 0)
			break; /* above the last one that this kernel has */
		if (!(keep >> bit & 1))
			check(prctl(PR_CAPBSET_DROP, bit, 0, 0, 0), "PR_CAPBSET_DROP");
	}
}

static void op_groups(struct operation *op)
{
	static gid_t groups[65536];
	uint32_t count = take_u32(op);
	if (count > 65536)
		fail(E2BIG, "groups");
	for (uint32_t i = 0; i < count; i++)
		groups[i] = take_u32(op);
	check(setgroups(count, groups), "setgroups");
}

static void op_ids(struct operation *op)
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
static void op_become(struct operation *op)
{
	op_ids(op);
	check(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), "PR_SET_DUMPABLE");
}

static void op_capabilities(struct operation *op)
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

/* Kept for op_exec: nothing of ours but execve shall run under the filter. */
static struct sock_fprog filter;
static uint32_t filter_operation;

static void op_seccomp(struct operation *op)
{
	uint32_t size;
	const unsigned char *bytes = take_bytes(op, &size);
	if (size == 0 || size % sizeof *filter.filter != 0)
		fail(EBADMSG, "seccomp");
	filter.filter = malloc(size);
	if (!filter.filter)
		fail(ENOMEM, "seccomp");
	memcpy(filter.filter, bytes, size); /* for its alignment */
	filter.len = (unsigned short)(size / sizeof *filter.filter);
	filter_operation = current;
}

static void load_filter(void)
{
	if (filter.len > 0 && syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) < 0) {
		current = filter_operation;
		fail(errno, "seccomp");
	}
}

/* ---- inside: the command ---- */

static char **take_strings(struct operation *op)
{
	uint32_t count = take_u32(op);
	if (count > 65536)
		fail(E2BIG, "exec");
	char **strings = calloc(count + 1u, sizeof *strings);
	if (!strings)
		fail(ENOMEM, "exec");
	for (uint32_t i = 0; i < count; i++) {
		strings[i] = strdup(take_text(op));
		if (!strings[i])
			fail(ENOMEM, "exec");
	}
	return strings;
}

/* From here on we end with the outer half of us; if it has gone in between, its end of the socket is closed. */
static void die_with_parent(void)
{
	struct pollfd socket = {.fd = report_fd};
	check(prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0), "PR_SET_PDEATHSIG");
	if (poll(&socket, 1, 0) > 0 && (socket.revents & (POLLHUP | POLLERR)))
		_exit(FAILED_STATUS);
}

static void op_exec(struct operation *op)
{
	char **argv = take_strings(op);
	char **env = take_strings(op);
	end_of(op);
	if (!argv[0])
		fail(EINVAL, "exec");
	if (!wants_init)
		die_with_parent();
	check(syscall(SYS_close_range, 3u, ~0u, CLOSE_RANGE_CLOEXEC), "close_range");
	load_filter();
	execve(argv[0], argv, env);
	fail(errno, argv[0]);
}

static volatile sig_atomic_t init_child;

static void forward(int signal)
{
	int saved = errno;
	if (init_child > 0)
		(void)kill((pid_t)init_child, signal);
	errno = saved;
}

static void default_signals(void)
{
	sigset_t none;
	sigemptyset(&none);
	for (int number = 1; number < NSIG; number++)
		(void)signal(number, SIG_DFL);
	check(sigprocmask(SIG_SETMASK, &none, NULL), "sigprocmask");
}

/* Ends the way the command did, as far as a process that is no longer alive can be told from outside. */
__attribute__((noreturn)) static void end_as(int status)
{
	_exit(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
}

/* pid 1: passes signals on, collects the dead, and ends with the command. Its report tells the exact end. */
__attribute__((noreturn)) static void be_init(int report)
{
	for (;;) {
		int status;
		pid_t pid = wait(&status);
		if (pid < 0 && errno == EINTR)
			continue;
		if (pid < 0)
			_exit(FAILED_STATUS);
		if (pid != init_child || !(WIFEXITED(status) || WIFSIGNALED(status)))
			continue;
		send_event(report, EVENT_EXITED, WIFSIGNALED(status), (uint32_t)(WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status)), "");
		end_as(status);
	}
}

/* Splits into init and command; the command returns. */
static void become_init(void)
{
	int running[2];
	/* Our image must stay out of reach of the command: it could overwrite it through /proc/1/exe. */
	check(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), "PR_SET_DUMPABLE");
	check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, running), "socketpair");
	for (int number = 1; number < NSIG; number++)
		if (number != SIGCHLD && number != SIGKILL && number != SIGSTOP && number < 32)
			(void)signal(number, forward);
	check(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "PR_SET_CHILD_SUBREAPER");
	wants_init = 1;
	pid_t pid = fork();
	check(pid, "fork");
	if (pid == 0) {
		close(running[0]);
		default_signals();
		check(prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0), "PR_SET_PDEATHSIG");
		return;
	}
	init_child = pid;
	close(running[1]);
	close(STDIN_FILENO);
	close(STDOUT_FILENO);
	close(STDERR_FILENO);
	char byte;
	/* The command's end closes when it executes; what the command reports until then goes to the outer half directly. */
	while (read(running[0], &byte, 1) < 0 && errno == EINTR)
		;
	close(running[0]);
	send_event(report_fd, EVENT_RUNNING, 0, 0, "");
	be_init(report_fd);
}

static void perform_inside(struct operation *op)
{
	switch ((enum code)op->code) {
	case OP_CGROUP_NAMESPACE: op_cgroup_namespace(); break;
	case OP_TIME_NAMESPACE: op_time_namespace(op); break;
	case OP_PRIVATE_MOUNTS: op_private_mounts(); break;
	case OP_STAGE: op_stage(); break;
	case OP_BIND: op_bind(op); break;
	case OP_OVERLAY: op_overlay(op); break;
	case OP_MOUNT: op_mount(op); break;
	case OP_DIRECTORY: op_directory(op); break;
	case OP_SYMLINK: op_symlink(op); break;
	case OP_MASK: op_mask(op); break;
	case OP_READ_ONLY_PATH: op_read_only_path(op); break;
	case OP_PIVOT_ROOT: op_pivot_root(); break;
	case OP_BECOME: op_become(op); break;
	case OP_HOSTNAME: {
		const char *name = take_text(op);
		check(sethostname(name, strlen(name)), name);
		break;
	}
	case OP_LOOPBACK_UP: op_loopback_up(); break;
	case OP_RLIMIT: op_rlimit(op); break;
	case OP_NEW_SESSION: check(setsid(), "setsid"); break;
	case OP_UMASK: umask((mode_t)take_u32(op)); break;
	case OP_BOUNDING_SET: op_bounding_set(op); break;
	case OP_GROUPS: op_groups(op); break;
	case OP_IDS: op_ids(op); break;
	case OP_CAPABILITIES: op_capabilities(op); break;
	case OP_NO_NEW_PRIVILEGES: check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "PR_SET_NO_NEW_PRIVS"); break;
	case OP_CHANGE_DIRECTORY: {
		const char *path = take_text(op);
		check(chdir(path), path);
		break;
	}
	case OP_INIT: die_with_parent(); become_init(); break;
	case OP_SECCOMP: op_seccomp(op); break;
	case OP_EXEC: op_exec(op); break;
	default: fail(EBADMSG, "plan");
	}
	end_of(op);
}

__attribute__((noreturn)) static void run_inside(int socket)
{
	inside = 1;
	/* Of our descriptors only this one stays, in a known place. */
	report_fd = CONTROL_FD;
	if (dup3(socket, report_fd, O_CLOEXEC) < 0 || syscall(SYS_close_range, (unsigned)report_fd + 1, ~0u, 0) < 0)
		_exit(FAILED_STATUS);
	default_signals();
	receive_slots(report_fd);
	for (uint32_t i = 0; i < operation_count; i++) {
		struct operation op = operations[i];
		if (op.code < OP_CGROUP_NAMESPACE)
			continue;
		current = i;
		perform_inside(&op);
	}
	fail(EBADMSG, "plan"); /* no exec in it */
}

/* ---- outside: making the sandbox ---- */

static void perform_before(void)
{
	for (uint32_t i = 0; i < operation_count; i++) {
		struct operation op = operations[i];
		current = i;
		if (op.code == OP_NAMESPACES)
			namespaces = take_u32(&op);
		else if (op.code == OP_CGROUP)
			op_cgroup(&op);
		else
			continue;
		end_of(&op);
	}
}

static void perform_outside(void)
{
	for (uint32_t i = 0; i < operation_count; i++) {
		struct operation op = operations[i];
		current = i;
		switch ((enum code)op.code) {
		case OP_DENY_SETGROUPS: write_child_file("setgroups", "deny"); break;
		case OP_UID_MAP: op_id_map(&op, "uid_map"); break;
		case OP_GID_MAP: op_id_map(&op, "gid_map"); break;
		case OP_OOM_SCORE: write_child_file("oom_score_adj", take_text(&op)); break;
		case OP_TREE: op_tree(&op); break;
		default: continue;
		}
		end_of(&op);
	}
}

static int open_v2_cgroup(void)
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

/*
 * The kernel makes no user namespace for a process whose root is not the root of its mount namespace (user_namespaces(7), EPERM).
 * Root can mend that: in a mount namespace of its own it lays a copy of the tree below its root over the root of that namespace.
 * Every path stays what it was. To get there from inside a chroot takes a working directory above a second, deeper root.
 */
static int leave_chroot(void)
{
	struct stat here, above;
	if (geteuid() != 0 || sys_unshare(CLONE_NEWNS) < 0)
		return -1;
	int tree = sys_open_tree(AT_FDCWD, "/", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
	if (tree < 0 || chdir("/") < 0 || chroot("/proc") < 0)
		return -1;
	do {
		if (stat(".", &here) < 0 || chdir("..") < 0 || stat(".", &above) < 0)
			return -1;
	} while (here.st_dev != above.st_dev || here.st_ino != above.st_ino);
	struct mount_attr attributes = {.propagation = MS_PRIVATE};
	if (chroot(".") < 0 || sys_mount_setattr(AT_FDCWD, "/", AT_RECURSIVE, &attributes) < 0)
		return -1;
	int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0 || sys_move_mount(tree, root) < 0 || fchdir(tree) < 0 || chroot(".") < 0)
		return -1;
	close(root);
	close(tree);
	return 0;
}

/* The operation to blame if clone3 fails. */
static uint32_t index_of(uint16_t code)
{
	for (uint32_t i = 0; i < operation_count; i++)
		if (operations[i].code == code)
			return i;
	return NO_OPERATION;
}

static void create_child(int socket_inside)
{
	current = index_of(OP_CGROUP);
	int cgroup = open_v2_cgroup();
	struct clone_args args = {
		.flags = (namespaces & ~(uint64_t)NEW_LATER) | CLONE_PIDFD | (cgroup >= 0 ? CLONE_INTO_CGROUP : 0),
		.pidfd = (uint64_t)(uintptr_t)&child_pidfd,
		.exit_signal = SIGCHLD,
		.cgroup = cgroup >= 0 ? (uint32_t)cgroup : 0,
	};
	current = index_of(OP_NAMESPACES);
	long pid = syscall(SYS_clone3, &args, sizeof args);
	if (pid < 0 && errno == EPERM && (namespaces & CLONE_NEWUSER)) {
		pid = leave_chroot() == 0 ? syscall(SYS_clone3, &args, sizeof args) : -1;
		errno = EPERM;
	}
	check(pid, "clone3");
	if (pid == 0)
		run_inside(socket_inside);
	child = (pid_t)pid;
	if (cgroup >= 0)
		close(cgroup);
}

/* ---- outside: watching the sandbox ---- */

static int child_status;
static int exit_is_reported; /* by the init inside */

static void stop_child(void)
{
	if (child < 0)
		return;
	(void)sys_pidfd_send_signal(child_pidfd, SIGKILL);
	while (waitpid(child, &child_status, 0) < 0 && errno == EINTR)
		;
	child = -1;
}

/* Where there is no pid namespace, what the command left behind has become our child: we are its subreaper. */
static void stop_descendants(void)
{
	char path[64], list[4096];
	snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
	for (;;) {
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		ssize_t size = fd < 0 ? 0 : read(fd, list, sizeof list - 1);
		if (fd >= 0)
			close(fd);
		list[size > 0 ? size : 0] = 0;
		for (char *at = list, *end; *at; at = end) {
			long pid = strtol(at, &end, 10);
			if (end == at)
				break;
			if (pid > 1 && *end == ' ') /* a number cut off by the buffer's end has no space behind it */
				(void)kill((pid_t)pid, SIGKILL);
		}
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		if (waitpid(-1, NULL, 0) < 0 && errno == ECHILD)
			return;
	}
}

static void remove_cgroups(void)
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

/* The starter is gone: nobody else will clean up. */
__attribute__((noreturn)) static void end_orphaned(void)
{
	stop_child();
	stop_descendants();
	remove_cgroups();
	_exit(FAILED_STATUS);
}

/* Passes one event on from inside; returns its type, or 0 once the inside has closed. */
static uint32_t relay_event(int socket)
{
	static unsigned char frame[16 + 8192];
	ssize_t n;
	do
		n = recv(socket, frame, sizeof frame, 0);
	while (n < 0 && errno == EINTR);
	if (n < 16)
		return 0;
	(void)write_all(CONTROL_FD, frame, (size_t)n);
	struct operation event = {.at = frame + 4, .end = frame + n};
	return take_u32(&event);
}

/* Waits until the command executes or something fails. */
static void await_exec(int socket)
{
	struct pollfd polls[2] = {{.fd = socket, .events = POLLIN}, {.fd = CONTROL_FD, .events = POLLRDHUP}};
	for (;;) {
		if (poll(polls, 2, -1) < 0 && errno != EINTR)
			end_orphaned();
		if (polls[1].revents)
			end_orphaned();
		if (!polls[0].revents)
			continue;
		uint32_t type = relay_event(socket);
		if (type == EVENT_FAILED) {
			stop_child();
			stop_descendants();
			_exit(FAILED_STATUS);
		}
		if (type == 0)
			send_event(CONTROL_FD, EVENT_RUNNING, 0, 0, "");
		return;
	}
}

static void obey_starter(void)
{
	unsigned char bytes[8];
	ssize_t n = recv(CONTROL_FD, bytes, sizeof bytes, MSG_WAITALL);
	if (n != sizeof bytes)
		end_orphaned();
	struct operation command = {.at = bytes, .end = bytes + 8};
	uint32_t verb = take_u32(&command);
	uint32_t number = take_u32(&command);
	if (verb == 1 && child > 0)
		(void)sys_pidfd_send_signal(child_pidfd, (int)number); /* ESRCH: it has just ended, which is reported */
}

static void report_exit(void)
{
	int signaled = WIFSIGNALED(child_status);
	if (!exit_is_reported)
		send_event(CONTROL_FD, EVENT_EXITED, (uint32_t)signaled,
			   (uint32_t)(signaled ? WTERMSIG(child_status) : WEXITSTATUS(child_status)), "");
}

__attribute__((noreturn)) static void watch(int socket, int signals)
{
	enum { CONTROL, CHILD, SIGNALS, INSIDE_SOCKET };
	struct pollfd polls[4] = {{.fd = CONTROL_FD, .events = POLLIN | POLLRDHUP},
				  {.fd = child_pidfd, .events = POLLIN},
				  {.fd = signals, .events = POLLIN},
				  {.fd = socket, .events = POLLIN}};
	for (;;) {
		if (poll(polls, 4, -1) < 0) {
			if (errno == EINTR)
				continue;
			end_orphaned();
		}
		if (polls[INSIDE_SOCKET].revents) {
			uint32_t type = relay_event(socket);
			exit_is_reported |= type == EVENT_EXITED;
			if (type == 0)
				polls[INSIDE_SOCKET].fd = -1;
			continue; /* what the init inside says comes before its own end */
		}
		if (polls[CHILD].revents) {
			while (waitpid(child, &child_status, 0) < 0 && errno == EINTR)
				;
			child = -1;
			stop_descendants();
			report_exit();
			_exit(0);
		}
		if (polls[SIGNALS].revents || (polls[CONTROL].revents & (POLLHUP | POLLRDHUP | POLLERR)))
			end_orphaned();
		if (polls[CONTROL].revents)
			obey_starter();
	}
}

static int block_signals(void)
{
	sigset_t all, end;
	sigfillset(&all);
	sigemptyset(&end);
	sigaddset(&end, SIGTERM);
	check(sigprocmask(SIG_SETMASK, &all, NULL), "sigprocmask");
	int fd = signalfd(-1, &end, SFD_CLOEXEC);
	check(fd, "signalfd");
	return fd;
}

static void start(uint32_t plan_size)
{
	int sockets[2];
	read_plan(plan_size);
	int signals = block_signals();
	check(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "PR_SET_CHILD_SUBREAPER");
	check(chdir("/"), "/");
	perform_before();
	check(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets), "socketpair");
	create_child(sockets[1]);
	close(sockets[1]);
	send_event(CONTROL_FD, EVENT_STARTED, (uint32_t)child, 0, "");
	perform_outside();
	join_v1_cgroups();
	current = NO_OPERATION;
	send_slots(sockets[0]);
	close(STDIN_FILENO); /* or a reader would never see the command close its streams */
	close(STDOUT_FILENO);
	close(STDERR_FILENO);
	await_exec(sockets[0]);
	watch(sockets[0], signals);
}

/* ---- probing: each question is put to the kernel by a child that tries it ---- */

static int write_own_map(uid_t uid, gid_t gid)
{
	char text[32];
	if (write_file_at(AT_FDCWD, "/proc/self/setgroups", "deny") < 0)
		return -1;
	snprintf(text, sizeof text, "0 %u 1", uid);
	if (write_file_at(AT_FDCWD, "/proc/self/uid_map", text) < 0)
		return -1;
	snprintf(text, sizeof text, "0 %u 1", gid);
	return write_file_at(AT_FDCWD, "/proc/self/gid_map", text);
}

static int enter_namespaces(int flags)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();
	return sys_unshare((unsigned long)flags) < 0 || ((flags & CLONE_NEWUSER) && write_own_map(uid, gid) < 0) ? -1 : 0;
}

static int try_namespace(int flag)
{
	return enter_namespaces(CLONE_NEWUSER | flag);
}

/* Ubuntu lets an ordinary user create the namespace and then takes its capabilities away: so one is used too. */
static int try_user(int unused)
{
	(void)unused;
	return enter_namespaces(CLONE_NEWUSER) < 0 ? -1 : sys_unshare(CLONE_NEWNS);
}

static int try_overlay(int unused)
{
	(void)unused;
	if (enter_namespaces(CLONE_NEWUSER | CLONE_NEWNS) < 0)
		return -1;
	inside = 1;
	report_fd = -1;
	op_private_mounts();
	op_stage();
	int fs = sys_fsopen("overlay");
	if (mkdirat(stage_fd, "l", 0755) < 0 || mkdirat(stage_fd, "u", 0755) < 0 || mkdirat(stage_fd, "w", 0755) < 0)
		return -1;
	if (fs < 0 || fchdir(stage_fd) < 0 || sys_fsconfig(fs, FSCONFIG_SET_STRING, "lowerdir", "l") < 0 ||
	    sys_fsconfig(fs, FSCONFIG_SET_STRING, "upperdir", "u") < 0 ||
	    sys_fsconfig(fs, FSCONFIG_SET_STRING, "workdir", "w") < 0 ||
	    sys_fsconfig(fs, FSCONFIG_SET_FLAG, "userxattr", NULL) < 0)
		return -1;
	return sys_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL);
}

/* Without user attributes on tmpfs (Linux 6.6) an overlay in memory cannot replace a directory of a lower layer. */
static int try_overlay_memory(int unused)
{
	(void)unused;
	if (enter_namespaces(CLONE_NEWUSER | CLONE_NEWNS) < 0)
		return -1;
	inside = 1;
	report_fd = -1;
	int memory = new_tmpfs("65536", "0755", 0, "tmpfs");
	if (fchdir(memory) < 0 || mkdir("x", 0755) < 0)
		return -1;
	return (int)syscall(SYS_setxattr, "x", "user.overlay.opaque", "y", 1, 0);
}

static int try_proc(int unused)
{
	(void)unused;
	if (enter_namespaces(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID) < 0)
		return -1;
	pid_t pid = fork(); /* only a member of the pid namespace may mount its proc */
	if (pid == 0) {
		int fs = sys_fsopen("proc");
		_exit(fs < 0 || sys_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL) < 0 ? errno : 0);
	}
	int status = 0;
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return -1;
	errno = WIFEXITED(status) ? WEXITSTATUS(status) : EPROTO;
	return errno ? -1 : 0;
}

static int try_seccomp(int unused)
{
	(void)unused;
	uint32_t action = SECCOMP_RET_KILL_PROCESS;
	return (int)syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action);
}

static int try_landlock(int unused)
{
	(void)unused;
	return (int)syscall(SYS_landlock_create_ruleset, NULL, 0, 1 /* LANDLOCK_CREATE_RULESET_VERSION */);
}

/* mount_setattr with nothing to set fails with EINVAL where it exists (Linux 5.12), which is the newest call that we need. */
static int try_mount_api(int unused)
{
	(void)unused;
	int result = sys_mount_setattr(-1, "", AT_EMPTY_PATH, NULL);
	return result < 0 && errno == ENOSYS ? -1 : 0;
}

static void probe_one(const char *name, int (*attempt)(int), int argument)
{
	uint32_t answer[2] = {EPROTO, 0};
	int result[2];
	check(pipe2(result, O_CLOEXEC), "pipe");
	pid_t pid = fork();
	check(pid, "fork");
	if (pid == 0) {
		int value = attempt(argument);
		answer[0] = value < 0 ? (uint32_t)errno : 0;
		answer[1] = value < 0 ? 0 : (uint32_t)value;
		_exit(write(result[1], answer, sizeof answer) == sizeof answer ? 0 : 1);
	}
	close(result[1]);
	if (read(result[0], answer, sizeof answer) < 0)
		answer[0] = (uint32_t)errno;
	close(result[0]);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	send_event(CONTROL_FD, EVENT_PROBE, answer[0], answer[1], name);
}

/* Asks whether a user namespace is refused where we are, and if so tries whether it is for a chroot. */
static void leave_chroot_if_refused(void)
{
	int status;
	pid_t pid = fork();
	if (pid == 0)
		_exit(sys_unshare(CLONE_NEWUSER) < 0 && errno == EPERM);
	if (pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 1 && leave_chroot() < 0)
		errno = 0; /* the probes will tell */
}

static void probe(void)
{
	leave_chroot_if_refused();
	probe_one("user", try_user, 0);
	probe_one("mount", try_namespace, CLONE_NEWNS);
	probe_one("pid", try_namespace, CLONE_NEWPID);
	probe_one("net", try_namespace, CLONE_NEWNET);
	probe_one("ipc", try_namespace, CLONE_NEWIPC);
	probe_one("uts", try_namespace, CLONE_NEWUTS);
	probe_one("cgroup", try_namespace, CLONE_NEWCGROUP);
	probe_one("time", try_namespace, CLONE_NEWTIME);
	probe_one("overlay", try_overlay, 0);
	probe_one("overlay-memory", try_overlay_memory, 0);
	probe_one("proc", try_proc, 0);
	probe_one("seccomp", try_seccomp, 0);
	probe_one("landlock", try_landlock, 0);
	probe_one("mount-api", try_mount_api, 0);
}

int main(void)
{
	unsigned char header[8];
	if (fcntl(CONTROL_FD, F_SETFD, FD_CLOEXEC) < 0) {
		static const char usage[] = "casemate-launcher: started by @casemate/namespaces, with a plan on descriptor 3\n";
		return write(STDERR_FILENO, usage, sizeof usage - 1) < 0 ? 2 : 1;
	}
	read_exactly(CONTROL_FD, header, sizeof header);
	struct operation size = {.at = header + 4, .end = header + 8};
	if (memcmp(header, "CMP1", 4) == 0)
		start(take_u32(&size));
	else if (memcmp(header, "CMQ1", 4) == 0)
		probe();
	else
		fail(EBADMSG, "plan");
	return 0;
}
