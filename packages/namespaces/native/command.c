/* Inside: the command, and the small init above it where one was asked for. */
#include "launcher.h"

/* From here on we end with the outer half of us; if it has gone in between, its end of the socket is closed. */
void die_with_parent(void)
{
	struct pollfd socket = {.fd = report_fd};
	check(prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0), "PR_SET_PDEATHSIG");
	if (poll(&socket, 1, 0) > 0 && (socket.revents & (POLLHUP | POLLERR)))
		_exit(FAILED_STATUS);
}

void op_exec(struct operation *op)
{
	char **argv = take_strings(op);
	char **env = take_strings(op);
	end_of(op);
	if (!argv[0])
		fail(EINVAL, "exec");
	if (!wants_init)
		die_with_parent();
	check(syscall(SYS_close_range, 3u, ~0u, CLOSE_RANGE_CLOEXEC), "close_range");
	progress->executing = 1;
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

void unblock_signals(void)
{
	sigset_t none;
	sigemptyset(&none);
	check(sigprocmask(SIG_SETMASK, &none, NULL), "sigprocmask");
}

void default_signals(void)
{
	for (int number = 1; number < NSIG; number++)
		(void)signal(number, SIG_DFL);
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
void become_init(void)
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
	if (pid == 0) {
		close(running[0]);
		default_signals();
		check(prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0), "PR_SET_PDEATHSIG");
		return;
	}
	check(pid, "fork");
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
