/* Outside: watches the sandbox until it ends, obeys the starter, and leaves nothing behind. */
#include "launcher.h"

#define MAX_WATCHED 16

static struct pollfd polls[MAX_WATCHED];
static on_ready *handlers[MAX_WATCHED];
static nfds_t watched;
static int table_changed;

static int inside_socket;
static pid_t sandbox_pid; /* of the first process, kept after its end */
static int running; /* the command executes, and the starter knows */
static int ended;   /* no process is left, and the starter knows */
static int status_is_reported; /* the init inside has told how the command ended */
static uint32_t exit_signaled, exit_number;

void watch_descriptor(int fd, short events, on_ready *ready)
{
	if (watched == MAX_WATCHED)
		fail(E2BIG, "watch");
	polls[watched] = (struct pollfd){.fd = fd, .events = events};
	handlers[watched++] = ready;
	table_changed = 1;
}

void unwatch_descriptor(int fd)
{
	for (nfds_t i = 0; i < watched; i++) {
		if (polls[i].fd != fd)
			continue;
		watched--;
		polls[i] = polls[watched];
		handlers[i] = handlers[watched];
		table_changed = 1;
		return;
	}
}

/* ---- ending ---- */

static void wait_for_child(void)
{
	int status = 0;
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	child = -1;
	if (status_is_reported)
		return;
	exit_signaled = WIFSIGNALED(status);
	exit_number = (uint32_t)(WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

/* Where there is no pid namespace, what the command left behind has become our child: we are its subreaper. */
static void stop_descendants(void)
{
	char path[64], list[4096];
	snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
	while (waitpid(-1, NULL, WNOHANG) >= 0 || errno != ECHILD) {
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
		(void)waitpid(-1, NULL, 0);
	}
}

/* Ends every process of the sandbox. */
void end_sandbox(void)
{
	if (child >= 0) {
		(void)sys_pidfd_send_signal(child_pidfd, SIGKILL);
		wait_for_child();
	}
	stop_descendants();
	remove_links();
}

/* The starter is gone: nobody else will clean up. */
__attribute__((noreturn)) static void end_orphaned(void)
{
	end_sandbox();
	remove_cgroups();
	_exit(FAILED_STATUS);
}

static void starter_gone(int fd, short events)
{
	(void)fd;
	(void)events;
	end_orphaned();
}

/* ---- what the inside says ---- */

static void now_running(void)
{
	if (!running)
		send_event(CONTROL_FD, EVENT_RUNNING, (uint32_t)sandbox_pid, 0, "");
	running = 1;
}

/* Its socket has closed: it has executed the command, or it was killed before. */
static void inside_closed(void)
{
	unwatch_descriptor(inside_socket);
	close(inside_socket);
	inside_socket = -1;
	if (running || progress->executing)
		return now_running();
	current = progress->operation;
	fail(ECANCELED, "its process was killed");
}

/* Takes one event from inside; returns whether there was one. */
static int take_event(void)
{
	static unsigned char frame[MAX_EVENT];
	int passed = -1;
	ssize_t n = receive_packet(inside_socket, frame, sizeof frame, &passed);
	if (n < 20)
		return 0;
	struct operation event = {.at = frame + 8, .end = frame + n};
	switch ((enum event)take_u32(&event)) {
	case EVENT_FAILED:
		(void)send(CONTROL_FD, frame, (size_t)n, MSG_NOSIGNAL);
		end_sandbox();
		_exit(FAILED_STATUS);
	case EVENT_RUNNING: now_running(); break;
	case EVENT_TERMINAL: take_terminal(passed); break;
	case EVENT_LISTENER: listen_for_calls(passed); break;
	case EVENT_EXITED: /* told once every process has gone */
		status_is_reported = 1;
		exit_signaled = take_u32(&event);
		exit_number = take_u32(&event);
		break;
	default: break;
	}
	return 1;
}

static void inside_ready(int fd, short events)
{
	(void)fd;
	(void)events;
	if (!take_event())
		inside_closed();
}

static void child_ended(int fd, short events)
{
	(void)events;
	unwatch_descriptor(fd);
	wait_for_child();
	while (inside_socket >= 0 && take_event())
		;
	if (inside_socket >= 0)
		inside_closed();
	if (!(namespaces & CLONE_NEWPID))
		stop_descendants(); /* else the kernel has ended them with the first one */
	remove_links();
	send_event(CONTROL_FD, EVENT_EXITED, exit_signaled, exit_number, "");
	ended = 1;
}

/*
 * Without a pid namespace, whatever loses its parent becomes our child, since we are its subreaper. Nobody else collects it, and as a
 * zombie it would count among the processes that the sandbox may have.
 */
static void strays_ended(int fd, short events)
{
	struct signalfd_siginfo info;
	siginfo_t stray;
	(void)events;
	(void)!read(fd, &info, sizeof info);
	for (;;) {
		stray.si_pid = 0;
		if (waitid(P_ALL, 0, &stray, WEXITED | WNOHANG | WNOWAIT) < 0 || stray.si_pid == 0 || stray.si_pid == child)
			return; /* the first process itself: child_ended is about to follow */
		(void)waitpid(stray.si_pid, NULL, WNOHANG);
	}
}

static void watch_strays(void)
{
	sigset_t changes;
	sigemptyset(&changes);
	sigaddset(&changes, SIGCHLD);
	int fd = signalfd(-1, &changes, SFD_CLOEXEC | SFD_NONBLOCK); /* the server has blocked all of them */
	check(fd, "signalfd");
	watch_descriptor(fd, POLLIN, strays_ended);
}

/* ---- what the starter says ---- */

static void obey(int fd, short events)
{
	static unsigned char bytes[MAX_EVENT];
	(void)events;
	int passed = -1;
	ssize_t n = receive_packet(fd, bytes, sizeof bytes, &passed);
	if (n < 8)
		end_orphaned(); /* the server is gone */
	struct operation packet = {.at = bytes, .end = bytes + n};
	uint32_t command = take_u32(&packet), argument = take_u32(&packet);
	switch ((enum command)command) {
	case COMMAND_SIGNAL:
		if (child > 0)
			(void)sys_pidfd_send_signal(child_pidfd, (int)argument); /* ESRCH: it has just ended, which is reported */
		break;
	case COMMAND_STREAMS_TAKEN: streams_taken(); break;
	case COMMAND_RESIZE: resize_terminal(argument & 0xffff, argument >> 16); break;
	case COMMAND_HAND_OVER:
		if (child_pidfd >= 0 && child > 0)
			send_descriptor(passed, EVENT_JOINED, child_pidfd);
		close(passed);
		break;
	default: obey_about_call(command, argument, &packet); break;
	}
}

static void call_handlers(void)
{
	table_changed = 0;
	for (nfds_t i = 0; i < watched && !table_changed; i++)
		if (polls[i].revents)
			handlers[i](polls[i].fd, polls[i].revents);
}

/* Ends when the sandbox has ended and the starter has what it needs of us. */
__attribute__((noreturn)) void watch(int socket, int signals)
{
	inside_socket = socket;
	sandbox_pid = child;
	watch_descriptor(socket, POLLIN, inside_ready);
	watch_descriptor(COMMAND_FD, POLLIN, obey);
	watch_descriptor(CONTROL_FD, POLLRDHUP, starter_gone);
	watch_descriptor(signals, POLLIN, starter_gone);
	watch_descriptor(child_pidfd, POLLIN, child_ended);
	if (!(namespaces & CLONE_NEWPID))
		watch_strays();
	while (!ended || streams_wait_for_starter() || terminal_has_output()) {
		if (poll(polls, watched, -1) >= 0)
			call_handlers();
		else if (errno != EINTR)
			end_orphaned();
	}
	_exit(TOLD_STATUS);
}
