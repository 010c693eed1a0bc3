/* What this kernel and user may do: each question is put to the kernel by a child that tries it. */
#include "launcher.h"

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
	make_private(MS_PRIVATE);
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

/* Shows a file system that root of the machine mounts to a user namespace with other ids. */
static int try_id_mapped(int unused)
{
	(void)unused;
	inside = 1;
	report_fd = -1;
	unsigned char ranges[2 * 16] = {1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 16, 1};
	memcpy(ranges + 16, ranges, 16);
	struct operation maps = {.at = ranges, .end = ranges + sizeof ranges};
	int tree = sys_open_tree(AT_FDCWD, "/", OPEN_TREE_CLONE | O_CLOEXEC);
	if (tree < 0)
		return -1;
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint32_t)take_own_namespace(&maps, "probe")};
	return sys_mount_setattr(tree, "", AT_EMPTY_PATH, &attr);
}

static int try_loop(int unused)
{
	(void)unused;
	return open("/dev/loop-control", O_RDWR | O_CLOEXEC);
}

static const char *const image_types[] = {"squashfs", "erofs", "ext4"};

static int try_image_type(int index)
{
	return sys_fsopen(image_types[index]);
}

static int try_veth(int unused)
{
	(void)unused;
	return enter_namespaces(CLONE_NEWUSER | CLONE_NEWNET) < 0 ? -1 : try_new_link();
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

/* A filter that allows everything, with a listener: the kernel refuses a second listener, such as beside one of a container engine. */
static int try_notifications(int unused)
{
	(void)unused;
	struct sock_filter allow = {.code = BPF_RET | BPF_K, .k = SECCOMP_RET_ALLOW};
	struct sock_fprog program = {.len = 1, .filter = &allow};
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -1;
	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program) < 0 ? -1 : 0;
}

static int try_session_keyring(int unused)
{
	(void)unused;
	return (int)syscall(SYS_keyctl, 1 /* KEYCTL_JOIN_SESSION_KEYRING */, NULL, 0, 0, 0) < 0 ? -1 : 0;
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

__attribute__((noreturn)) void probe(void)
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
	probe_one("notifications", try_notifications, 0);
	probe_one("session-keyring", try_session_keyring, 0);
	probe_one("mount-api", try_mount_api, 0);
	probe_one("id-mapped", try_id_mapped, 0);
	probe_one("loop", try_loop, 0);
	for (int i = 0; i < 3; i++)
		probe_one(image_types[i], try_image_type, i);
	probe_one("change-links", try_change_links, 0);
	probe_one("veth", try_veth, 0);
	_exit(0);
}
