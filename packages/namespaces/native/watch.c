/* Outside: watches the sandbox until it ends, obeys the starter, and leaves nothing behind. */
#include "launcher.h"

static int child_status;
static int exit_is_reported; /* by the init inside */

void stop_child(void)
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
void await_exec(int socket)
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

__attribute__((noreturn)) void watch(int socket, int signals)
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
