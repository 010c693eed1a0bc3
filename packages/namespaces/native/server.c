/*
 * The server: takes requests of the starter, forks a watcher for each, passes commands on to it, and tells when it has ended.
 * It is small on purpose: its fork takes microseconds, where that of a Node process with a large heap takes tens of milliseconds.
 */
#include "launcher.h"

enum verb { VERB_PROBE = 1, VERB_START = 2, VERB_COMMAND = 3, VERB_DEVICES = 4, VERB_PRESSURE = 5, VERB_SPARE = 6 };

/* A process that we forked for a request. */
struct watcher {
	uint32_t id;
	pid_t pid;
	int command_fd; /* our end of a packet socket */
	int is_stuck;   /* it has not read for a long time */
};

static struct watcher *watchers;
static uint32_t watcher_count, watcher_room;

/* The watcher that waits for the next sandbox (spare.c); it is told by its pid whether there is one. */
static struct {
	pid_t pid;
	int command_fd;
	struct shape shape;
	struct handed *memory;
} spare;
static int wants_spare = 1;

/* Descriptors 0, 1 and 2 are the starter's; whatever else it let slip into us does not belong into a sandbox. */
static void keep_own_descriptors(void)
{
	int fd;
	do
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (syscall(SYS_close_range, (unsigned)CONTROL_FD + 1, ~0u, 0) < 0)
		_exit(FAILED_STATUS);
}

static int block_signals(void)
{
	sigset_t all, wanted;
	sigfillset(&all);
	sigemptyset(&wanted);
	sigaddset(&wanted, SIGCHLD);
	sigaddset(&wanted, SIGTERM);
	if (sigprocmask(SIG_SETMASK, &all, NULL) < 0)
		_exit(FAILED_STATUS);
	return signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK);
}

static struct watcher *find_watcher(uint32_t id)
{
	for (uint32_t i = 0; i < watcher_count; i++)
		if (watchers[i].id == id)
			return &watchers[i];
	return NULL;
}

static int make_room(void)
{
	if (watcher_count < watcher_room)
		return 0;
	uint32_t room = watcher_room ? watcher_room * 2 : 16;
	struct watcher *larger = realloc(watchers, room * sizeof *larger);
	if (!larger)
		return -1;
	watchers = larger;
	watcher_room = room;
	return 0;
}

/* In the new process: only the starter's streams, the control socket and our ends of the other sockets stay. */
static void become_watcher(int command_socket, int target_socket)
{
	free(watchers);
	watchers = NULL;
	watcher_count = watcher_room = 0;
	if (dup3(command_socket, COMMAND_FD, O_CLOEXEC) < 0 && errno != EINVAL)
		_exit(FAILED_STATUS);
	if (target_socket >= 0 && dup3(target_socket, TARGET_FD, O_CLOEXEC) < 0 && errno != EINVAL)
		_exit(FAILED_STATUS);
	if (syscall(SYS_close_range, (unsigned)(target_socket < 0 ? COMMAND_FD : TARGET_FD) + 1, ~0u, 0) < 0)
		_exit(FAILED_STATUS);
}

static void refuse(uint32_t id, int error, const char *what)
{
	sandbox_id = id;
	send_event(CONTROL_FD, EVENT_FAILED, NO_OPERATION, (uint32_t)error, what);
	send_event(CONTROL_FD, EVENT_GONE, 0, FAILED_STATUS, "");
}

/* Asks the watcher of a running sandbox for the sandbox's first process; the answer comes on the socket that is returned. */
static int ask_target(uint32_t id)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {.space = {0}};
	unsigned char command[8] = {COMMAND_HAND_OVER};
	struct iovec data = {.iov_base = command, .iov_len = sizeof command};
	struct msghdr message = {
		.msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
	int sockets[2];
	const struct watcher *target = find_watcher(id);
	if (!target || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0)
		return -1;
	control.header = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
	control.header.cmsg_len = (socklen_t)CMSG_LEN(sizeof sockets[1]);
	memcpy(CMSG_DATA(&control.header), &sockets[1], sizeof sockets[1]);
	ssize_t sent = sendmsg(target->command_fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
	close(sockets[1]);
	if (sent >= 0)
		return sockets[0];
	close(sockets[0]);
	return -1;
}

/* What a start is about begins with the sandbox that it goes into; -1: into none, -2: that one has ended. */
static int target_of(uint32_t verb, const unsigned char *body, uint32_t size)
{
	struct operation fields = {.at = body, .end = body + size};
	uint32_t id = verb == VERB_START && size >= 4 ? take_u32(&fields) : 0;
	int socket = id ? ask_target(id) : -1;
	return id && socket < 0 ? -2 : socket;
}

/* ---- the spare watcher ---- */

static void forget_spare(void)
{
	close(spare.command_fd);
	munmap(spare.memory, sizeof *spare.memory);
	spare.pid = 0;
}

/* It ends once it sees its socket closed; who is no watcher any more is collected like a stray. */
static void drop_spare(void)
{
	if (spare.pid > 0)
		forget_spare();
}

/* A failure is none: the next start is then made from scratch. */
static void make_spare(const struct shape *shape)
{
	int sockets[2];
	struct handed *memory = share_request();
	if (!memory)
		return;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0) {
		munmap(memory, sizeof *memory);
		return;
	}
	pid_t pid = fork();
	if (pid == 0) {
		become_watcher(sockets[1], -1);
		be_spare(memory, shape);
	}
	close(sockets[1]);
	spare.pid = pid;
	spare.command_fd = sockets[0];
	spare.memory = memory;
	spare.shape = *shape;
	if (pid < 0)
		forget_spare();
}

static int spare_fits(const struct shape *shape)
{
	const struct shape *own = &spare.shape;
	return spare.pid > 0 && own->namespaces == shape->namespaces && own->loopback == shape->loopback &&
	       own->session == shape->session;
}

/* Gives a request to the spare watcher, which then is one like any other. Returns whether that was possible. */
static int use_spare(uint32_t id, const unsigned char *body, uint32_t size, const struct shape *shape)
{
	static const unsigned char begin_command[8] = {COMMAND_BEGIN};
	if (!spare_fits(shape))
		return 0;
	spare.memory->id = id;
	spare.memory->size = size;
	memcpy(spare.memory->bytes, body, size);
	struct watcher used = {.id = id, .pid = spare.pid, .command_fd = spare.command_fd};
	if (send(used.command_fd, begin_command, sizeof begin_command, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
		forget_spare();
		return 0;
	}
	munmap(spare.memory, sizeof *spare.memory);
	spare.pid = 0;
	watchers[watcher_count++] = used;
	return 1;
}

static void begin_anew(uint32_t verb, uint32_t id, const unsigned char *body, uint32_t size);

/* A start that looks like the one before finds its namespaces made; what the next one will need is made behind it. */
static void begin(uint32_t verb, uint32_t id, const unsigned char *body, uint32_t size)
{
	struct shape shape;
	int may_use = wants_spare && verb == VERB_START && shape_of(body, size, &shape);
	if (make_room() < 0)
		return refuse(id, ENOMEM, "server");
	if (!may_use || !use_spare(id, body, size, &shape))
		begin_anew(verb, id, body, size);
	if (!may_use || spare_fits(&shape))
		return;
	drop_spare();
	make_spare(&shape);
}

static void begin_anew(uint32_t verb, uint32_t id, const unsigned char *body, uint32_t size)
{
	int sockets[2];
	int target = target_of(verb, body, size);
	if (target == -2)
		return refuse(id, ESRCH, "the sandbox has ended");
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0) {
		int error = errno;
		if (target >= 0)
			close(target);
		return refuse(id, error, "socketpair");
	}
	pid_t pid = fork();
	if (pid < 0) {
		int error = errno;
		close(sockets[0]);
		close(sockets[1]);
		if (target >= 0)
			close(target);
		return refuse(id, error, "fork");
	}
	if (pid == 0) {
		sandbox_id = id;
		become_watcher(sockets[1], target);
		if (verb == VERB_START)
			start(body, size, begin_watcher(), -1);
		if (verb == VERB_DEVICES)
			attach_devices(body, size);
		if (verb == VERB_PRESSURE)
			watch_pressure(body, size);
		probe();
	}
	close(sockets[1]);
	if (target >= 0)
		close(target);
	watchers[watcher_count++] = (struct watcher){.id = id, .pid = pid, .command_fd = sockets[0]};
}

/* Whether a spare watcher is to be kept. */
static void keep_spare(int wanted)
{
	wants_spare = wanted;
	if (!wanted)
		drop_spare();
}

/*
 * The watcher may just have ended, which is not the starter's fault: what it was told is then moot. Where its socket is full it gets time to
 * read, or a signal could be lost behind many others; but once only, since all others wait meanwhile.
 */
static void pass_on(uint32_t id, const unsigned char *body, uint32_t size)
{
	enum { PATIENCE_MS = 2000 };
	struct watcher *watcher = find_watcher(id);
	while (watcher && send(watcher->command_fd, body, size, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
		struct pollfd room = {.fd = watcher->command_fd, .events = POLLOUT};
		if ((errno != EAGAIN && errno != EWOULDBLOCK) || watcher->is_stuck)
			return;
		watcher->is_stuck = poll(&room, 1, PATIENCE_MS) <= 0;
	}
	if (watcher)
		watcher->is_stuck = 0;
}

/* A request: its length, then verb, number of the sandbox, and the rest. The starter writes it: it is checked for shape. */
static int take_request(void)
{
	unsigned char header[12];
	ssize_t n = recv(CONTROL_FD, header, sizeof header, MSG_WAITALL);
	if (n != sizeof header)
		return -1;
	struct operation fields = {.at = header, .end = header + sizeof header};
	uint32_t size = take_u32(&fields) - 8, verb = take_u32(&fields), id = take_u32(&fields);
	if (size > MAX_PLAN)
		return -1;
	unsigned char *body = malloc(size + 1u);
	if (!body || read_exactly(CONTROL_FD, body, size) < 0)
		return -1;
	if (verb == VERB_COMMAND)
		pass_on(id, body, size);
	else if (verb == VERB_SPARE)
		keep_spare(size > 0 && body[0]);
	else if (verb >= VERB_PROBE && verb <= VERB_PRESSURE)
		begin(verb, id, body, size);
	else
		refuse(id, EBADMSG, "request");
	free(body);
	return 0;
}

/* Who is our child without being a watcher was left behind by a watcher that was killed: nobody else will end it. */
static void end_strays(void)
{
	char path[64], list[4096];
	snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t size = fd < 0 ? 0 : read(fd, list, sizeof list - 1);
	if (fd >= 0)
		close(fd);
	list[size > 0 ? size : 0] = 0;
	for (char *at = list, *end; *at; at = end) {
		long pid = strtol(at, &end, 10);
		if (end == at || *end != ' ') /* a number cut off by the buffer's end has no space behind it */
			break;
		uint32_t i = 0;
		if (pid == spare.pid)
			continue;
		while (i < watcher_count && watchers[i].pid != (pid_t)pid)
			i++;
		if (i == watcher_count)
			(void)kill((pid_t)pid, SIGKILL);
	}
}

static void collect(pid_t pid, int status)
{
	if (pid == spare.pid)
		return forget_spare();
	for (uint32_t i = 0; i < watcher_count; i++) {
		if (watchers[i].pid != pid)
			continue;
		sandbox_id = watchers[i].id;
		close(watchers[i].command_fd);
		watchers[i] = watchers[--watcher_count];
		if (WIFEXITED(status) && WEXITSTATUS(status) == TOLD_STATUS)
			return;
		int killed = WIFSIGNALED(status);
		send_event(CONTROL_FD, EVENT_GONE, (uint32_t)killed, (uint32_t)(killed ? WTERMSIG(status) : WEXITSTATUS(status)), "");
		return;
	}
}

static void collect_all(void)
{
	int status;
	pid_t pid;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		collect(pid, status);
		if (WIFSIGNALED(status))
			end_strays();
	}
}

/* The starter is gone. The watchers see that too and end what they watch; we wait for them, and for what they left. */
__attribute__((noreturn)) static void end_server(void)
{
	drop_spare();
	for (uint32_t i = 0; i < watcher_count; i++) {
		(void)shutdown(watchers[i].command_fd, SHUT_RDWR);
		(void)kill(watchers[i].pid, SIGTERM);
	}
	int status;
	pid_t pid;
	while ((pid = waitpid(-1, &status, 0)) > 0 || errno == EINTR) {
		if (pid <= 0)
			continue;
		collect(pid, status);
		end_strays();
	}
	_exit(0);
}

__attribute__((noreturn)) void serve(void)
{
	keep_own_descriptors();
	default_signals();
	int signals = block_signals();
	if (signals < 0 || prctl(PR_SET_NAME, SERVER_NAME) < 0 || chdir("/") < 0)
		_exit(FAILED_STATUS);
	(void)prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); /* each watcher asks for it too, and does not go on without */
	struct pollfd polls[2] = {{.fd = CONTROL_FD, .events = POLLIN}, {.fd = signals, .events = POLLIN}};
	for (;;) {
		if (poll(polls, 2, -1) < 0 && errno != EINTR)
			end_server();
		struct signalfd_siginfo info;
		while (polls[1].revents && read(signals, &info, sizeof info) == sizeof info) {
			if (info.ssi_signo == SIGTERM)
				end_server();
			collect_all();
		}
		if (polls[0].revents && take_request() < 0)
			end_server();
	}
}
