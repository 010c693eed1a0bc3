/* Making the sandbox's first process in its namespaces, and entering those that come later. */
#include "launcher.h"

/* Only now: a cgroup namespace takes the cgroup of this moment as its root, and we have just been put into ours. */
void op_cgroup_namespace(void)
{
	check(sys_unshare(CLONE_NEWCGROUP), "unshare");
}

void op_time_namespace(struct operation *op)
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

/*
 * The kernel makes no user namespace for a process whose root is not the root of its mount namespace (user_namespaces(7), EPERM).
 * Root can mend that: in a mount namespace of its own it lays a copy of the tree below its root over the root of that namespace.
 * Every path stays what it was. To get there from inside a chroot takes a working directory above a second, deeper root.
 */
int leave_chroot(void)
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

void create_child(int socket_inside, int socket_outside)
{
	current = index_of(OP_CGROUP);
	int cgroup = open_v2_cgroup();
	struct clone_args args = {
		.flags = CLONE_PIDFD | (cgroup >= 0 ? CLONE_INTO_CGROUP : 0),
		.pidfd = (uint64_t)(uintptr_t)&child_pidfd,
		.exit_signal = SIGCHLD,
		.cgroup = cgroup >= 0 ? (uint32_t)cgroup : 0,
	};
	current = index_of(OP_NAMESPACES);
	if (!joins_namespaces())
		args.flags |= namespaces & ~(uint64_t)NEW_LATER;
	long pid = syscall(SYS_clone3, &args, sizeof args);
	if (pid < 0 && errno == EPERM && (args.flags & CLONE_NEWUSER)) {
		pid = leave_chroot() == 0 ? syscall(SYS_clone3, &args, sizeof args) : -1;
		errno = EPERM;
	}
	if (pid == 0 && joins_namespaces())
		become_joiner(socket_inside);
	if (pid == 0)
		run_inside(socket_inside);
	check(pid, "clone3");
	if (joins_namespaces())
		join_as_child((pid_t)pid, socket_outside);
	else
		child = (pid_t)pid;
	if (cgroup >= 0)
		close(cgroup);
}
