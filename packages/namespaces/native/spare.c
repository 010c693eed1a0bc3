/*
 * Ahead of the next sandbox: a watcher whose first process waits in fresh namespaces already. Making those takes the kernel as long as
 * all the rest of a start, so the server has it done while the sandbox before runs. Only what depends on nothing but the kinds of
 * namespaces is done ahead: the mounts are copied, and whatever a plan says is done, when a request comes.
 */
#include "launcher.h"

enum { BEFORE_PLAN = 16 }; /* bytes of a request: the sandbox that it is about, and three streams */

static struct handed *handed; /* memory that the server, the spare watcher and its first process share */
static struct shape wanted;

struct handed *share_request(void)
{
	struct handed *memory = mmap(NULL, sizeof *memory, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return memory == MAP_FAILED ? NULL : memory;
}

/* What a plan wants of its first process, read without ever failing: this is in the server. Returns 0 if it has to be made anew. */
int shape_of(const unsigned char *request, size_t size, struct shape *shape)
{
	enum { TARGET = 0, OPERATIONS = BEFORE_PLAN + 4, HEAD = 6 };
	*shape = (struct shape){0};
	if (size < OPERATIONS || size > sizeof handed->bytes || get_u32(request + TARGET) != 0)
		return 0;
	const unsigned char *at = request + OPERATIONS, *end = request + size;
	for (uint32_t count = get_u32(request + BEFORE_PLAN); count > 0; count--) {
		if (end - at < HEAD || (size_t)(end - at - HEAD) < get_u32(at + 2))
			return 0;
		uint32_t code = at[0] | (uint32_t)at[1] << 8, length = get_u32(at + 2);
		const unsigned char *body = at + HEAD;
		if (code == OP_JOIN || ((code == OP_CGROUP || code == OP_NAMESPACES) && length < 4))
			return 0;
		if (code == OP_CGROUP && get_u32(body) == 2)
			return 0; /* clone3 alone puts a process there without stopping the machine */
		if (code == OP_NAMESPACES)
			shape->namespaces = get_u32(body);
		if (code == OP_LOOPBACK_UP)
			shape->loopback = 1;
		if (code == OP_NEW_SESSION)
			shape->session = 1;
		at = body + length;
	}
	shape->loopback &= (shape->namespaces & CLONE_NEWNET) != 0;
	return shape->namespaces != 0;
}

/* ---- the first process ---- */

/* Waits for the request, which its watcher takes first. Without one it ends with its watcher. */
__attribute__((noreturn)) static void wait_inside(int socket)
{
	enter_inside(socket);
	(void)prctl(PR_SET_NAME, SERVER_NAME);
	/* What fails is tried again, and then told. A session is a group to the scheduler, at the end of the queue when it is new. */
	struct shape done = {.loopback = wanted.loopback && raise_loopback() == 0, .session = wanted.session && setsid() >= 0};
	receive_slots(report_fd);
	sandbox_id = handed->id;
	read_plan(handed->bytes + BEFORE_PLAN, handed->size - BEFORE_PLAN);
#ifdef CASEMATE_FAULTS
	for (uint32_t i = 0; i < operation_count; i++)
		if (operations[i].code == OP_FAULT)
			op_fault(&(struct operation){.at = operations[i].at, .end = operations[i].end});
#endif
	current = index_of(OP_NAMESPACES);
	progress->operation = current;
	if (namespaces & CLONE_NEWNS)
		check(sys_unshare(CLONE_NEWNS), "unshare");
	perform_inside_all(&done);
}

/* ---- its watcher ---- */

static int has_child;
static int socket_outside = -1;

static void make_child_ahead(void)
{
	int sockets[2];
	struct clone_args args = {
		.flags = CLONE_PIDFD | (namespaces & ~(uint64_t)(NEW_LATER | CLONE_NEWNS)),
		.pidfd = (uint64_t)(uintptr_t)&child_pidfd,
		.exit_signal = SIGCHLD,
	};
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0)
		return;
	long pid = syscall(SYS_clone3, &args, sizeof args);
	if (pid == 0)
		wait_inside(sockets[1]);
	close(sockets[1]);
	if (pid < 0) {
		close(sockets[0]); /* the request will be refused for the same reason, and tell it */
		return;
	}
	child = (pid_t)pid;
	socket_outside = sockets[0];
	has_child = 1;
}

__attribute__((noreturn)) static void end_unused(void)
{
	end_sandbox();
	_exit(FAILED_STATUS);
}

/* Until the server sends a request; nothing is left of us if it, or the starter, ends before. */
static void await_request(int signals)
{
	unsigned char packet[8];
	struct pollfd polls[3] = {
		{.fd = COMMAND_FD, .events = POLLIN}, {.fd = CONTROL_FD, .events = POLLRDHUP}, {.fd = signals, .events = POLLIN}};
	while (poll(polls, 3, -1) < 0)
		if (errno != EINTR)
			end_unused();
	if (polls[1].revents || polls[2].revents || recv(COMMAND_FD, packet, sizeof packet, 0) != sizeof packet)
		end_unused();
}

/* Whether the process that waits inside is still there: anybody may have killed it, who may kill us. */
static int child_waits(void)
{
	struct pollfd end = {.fd = child_pidfd, .events = POLLIN};
	if (!has_child || poll(&end, 1, 0) == 0)
		return has_child;
	close(socket_outside);
	while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
	close(child_pidfd);
	child = child_pidfd = -1;
	return 0;
}

__attribute__((noreturn)) void be_spare(struct handed *memory, const struct shape *shape)
{
	(void)prctl(PR_SET_NAME, SPARE_NAME);
	sandbox_id = 0; /* nobody's */
	int signals = begin_watcher();
	handed = memory;
	namespaces = shape->namespaces;
	wanted = *shape;
	make_child_ahead();
	await_request(signals);
	(void)prctl(PR_SET_NAME, SERVER_NAME);
	sandbox_id = handed->id;
	start(handed->bytes, handed->size, signals, child_waits() ? socket_outside : -1);
}
