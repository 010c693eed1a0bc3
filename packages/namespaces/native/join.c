/*
 * Entering namespaces that exist already: those of a running sandbox, of a process, or named by a path. A process of ours in between,
 * the joiner, enters them, makes the first process of the sandbox as our child (CLONE_PARENT) and ends; we ourselves stay outside.
 */
#include "launcher.h"

/* How a namespace to enter is named in the plan. */
enum named { BY_TARGET = 0, BY_PID = 1, BY_PATH = 2 };

struct join {
	uint64_t flags; /* CLONE_NEW…, several for a process */
	int fd;
	uint32_t operation;
	int done;
};

static struct join joins[16];
static uint32_t join_count;
static int target_pidfd = -1; /* first process of the sandbox that the request is about */

/* The watcher of that sandbox sends it, so that a process id that has been given anew cannot mislead us. */
void take_target(int socket)
{
	struct pollfd wait = {.fd = socket, .events = POLLIN};
	current = NO_OPERATION;
	if (poll(&wait, 1, 5000) == 1)
		target_pidfd = receive_descriptor(socket);
	close(socket);
	if (target_pidfd < 0)
		fail(ESRCH, "the sandbox has ended");
}

static int open_namespace(enum named named, pid_t pid, const char *path)
{
	switch (named) {
	case BY_TARGET: return dup(target_pidfd);
	case BY_PID: return (int)syscall(SYS_pidfd_open, pid, 0);
	case BY_PATH: return open(path, O_RDONLY | O_CLOEXEC);
	default: fail(EBADMSG, "plan");
	}
}

/* Performed before the sandbox exists: what is named is held from then on. */
void op_join(struct operation *op)
{
	uint64_t flags = take_u32(op);
	enum named named = (enum named)take_u32(op);
	pid_t pid = (pid_t)take_u32(op);
	const char *path = take_text(op);
	if (join_count == sizeof joins / sizeof *joins)
		fail(E2BIG, path);
	int fd = open_namespace(named, pid, path);
	check(fd, path);
	joins[join_count++] = (struct join){.flags = flags, .fd = fd, .operation = current};
}

int joins_namespaces(void)
{
	return join_count > 0;
}

uint64_t joined_kinds(void)
{
	uint64_t kinds = 0;
	for (uint32_t i = 0; i < join_count; i++)
		kinds |= joins[i].flags;
	return kinds;
}

/*
 * Root may have to enter others before a user namespace takes its rights over them away; an ordinary user has rights over others only
 * once it has entered the user namespace that owns them. So what is refused at first is tried again after that.
 */
static void enter_all(void)
{
	for (int users = 0; users < 3; users++) {
		for (uint32_t i = 0; i < join_count; i++) {
			struct join *join = &joins[i];
			int owns = (join->flags & CLONE_NEWUSER) != 0;
			if (join->done || (users == 0 && owns) || (users == 1 && !owns))
				continue;
			current = join->operation;
			join->done = syscall(SYS_setns, join->fd, (int)join->flags) == 0;
			if (!join->done && (users > 0 || errno != EPERM))
				fail(errno, "setns");
		}
	}
}

/* In the joiner, which those in the namespaces see as soon as it has entered: so it must not be looked into. */
__attribute__((noreturn)) static void run_joiner(int socket)
{
	char go;
	inside = 1;
	report_fd = socket;
	if (read(socket, &go, 1) != 1)
		_exit(FAILED_STATUS);
	check(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), "PR_SET_DUMPABLE");
	enter_all();
	struct clone_args args = {.flags = (namespaces & ~(uint64_t)NEW_LATER) | CLONE_PARENT};
	current = index_of(OP_NAMESPACES);
	long pid = syscall(SYS_clone3, &args, sizeof args);
	if (pid == 0)
		run_inside(socket);
	check(pid, "clone3");
	send_event(socket, EVENT_JOINED, (uint32_t)pid, 0, "");
	_exit(0);
}

static pid_t await_joiner(int socket)
{
	static unsigned char frame[MAX_EVENT];
	ssize_t n;
	do
		n = recv(socket, frame, sizeof frame, 0);
	while (n < 0 && (errno == EINTR || errno == ECONNRESET)); /* as in receive_packet */
	struct operation event = {.at = frame + 8, .end = frame + (n > 8 ? n : 8)};
	uint32_t type = n < 20 ? 0 : take_u32(&event);
	if (type == EVENT_FAILED)
		(void)send(CONTROL_FD, frame, (size_t)n, MSG_NOSIGNAL);
	if (type == EVENT_FAILED)
		_exit(FAILED_STATUS);
	if (type != EVENT_JOINED)
		fail(ECANCELED, "its process was killed");
	return (pid_t)take_u32(&event);
}

/* `joiner` is its process as create_child has made it; it and its cgroups are passed on to the child. */
void join_as_child(pid_t joiner, int socket_outside)
{
	child = joiner;
	join_v1_cgroups();
	child = -1;
	current = index_of(OP_NAMESPACES);
	check(write(socket_outside, "J", 1), "joiner");
	pid_t pid = await_joiner(socket_outside);
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0); /* our child: its number is its own until we have waited for it */
	check(pidfd, "pidfd_open");
	close(child_pidfd);
	child = pid;
	child_pidfd = pidfd;
	while (waitpid(joiner, NULL, 0) < 0 && errno == EINTR)
		;
}

__attribute__((noreturn)) void become_joiner(int socket)
{
	run_joiner(socket);
}
