/*
 * A terminal for the command: made inside, by the devpts that the command itself sees, so that its name there is right. Its master
 * end comes out to us, and we carry bytes between it and two pipes of the starter, with the back-pressure of both sides.
 */
#include "launcher.h"

#include <sys/sysmacros.h>
#include <termios.h>

enum { BUFFER = 16384 };

/* One direction: what was read and is not written yet. */
struct flow {
	int from, to;
	size_t start, end;
	unsigned char *bytes;
};

static unsigned char typed_bytes[BUFFER], shown_bytes[BUFFER];
static struct flow typed = {.from = -1, .to = -1, .bytes = typed_bytes}; /* starter → command */
static struct flow shown = {.from = -1, .to = -1, .bytes = shown_bytes}; /* command → starter */
static int master = -1;
static int shows; /* whether the starter still reads */

/* ---- inside ---- */

static int open_master(void)
{
	struct stat info;
	int fd = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	check(fd, "/dev/ptmx");
	check(fstat(fd, &info), "/dev/ptmx");
	if (!S_ISCHR(info.st_mode) || info.st_rdev != makedev(5, 2))
		fail(ENOTTY, "/dev/ptmx"); /* the root file system has put something else there */
	return fd;
}

void op_terminal(struct operation *op)
{
	int unlocked = 0;
	struct winsize size = {.ws_col = (unsigned short)take_u32(op)};
	size.ws_row = (unsigned short)take_u32(op);
	int fd = open_master();
	check(ioctl(fd, TIOCSPTLCK, &unlocked), "TIOCSPTLCK");
	check(ioctl(fd, TIOCSWINSZ, &size), "TIOCSWINSZ");
	int slave = ioctl(fd, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	check(slave, "TIOCGPTPEER");
	(void)setsid(); /* fails where the session is new already */
	check(ioctl(slave, TIOCSCTTY, 0), "TIOCSCTTY");
	for (int i = 0; i < 3; i++)
		check(dup2(slave, i), "dup2");
	close(slave);
	send_descriptor(report_fd, EVENT_TERMINAL, fd);
	close(fd);
}

/* ---- outside ---- */

void keep_terminal_pipe(int number, int fd)
{
	check(fcntl(fd, F_SETFL, O_NONBLOCK), "O_NONBLOCK");
	if (number == STDIN_FILENO)
		typed.from = fd;
	else
		shown.to = fd;
}

static void terminal_ready(int fd, short events);

static void arm(int fd, short events)
{
	if (fd >= 0)
		unwatch_descriptor(fd);
	if (fd >= 0 && events)
		watch_descriptor(fd, events, terminal_ready);
}

/* Each end is asked only for what can be done about it now; that is all of the back-pressure. */
static void arm_all(void)
{
	int typed_is_empty = typed.start == typed.end, shown_is_empty = shown.start == shown.end;
	short wanted = (short)((shown_is_empty ? POLLIN : 0) | (typed_is_empty ? 0 : POLLOUT));
	arm(master, wanted);
	arm(typed.from, typed_is_empty ? POLLIN : 0);
	arm(shown.to, shown_is_empty ? 0 : POLLOUT);
}

static void close_end(int *fd)
{
	if (*fd < 0)
		return;
	unwatch_descriptor(*fd);
	close(*fd);
	*fd = -1;
}

/* The starter has ended its side: the command learns it as it would from a person, by the end-of-file character. */
static void end_typing(void)
{
	struct termios modes;
	close_end(&typed.from);
	if (master < 0 || tcgetattr(master, &modes) < 0 || !(modes.c_lflag & ICANON))
		return;
	typed.bytes[0] = modes.c_cc[VEOF];
	typed.start = 0;
	typed.end = 1;
}

/* Every process has closed the terminal. */
static void hang_up(void)
{
	close_end(&typed.from);
	typed.start = typed.end = 0;
	if (master >= 0) {
		unwatch_descriptor(master);
		close(master);
	}
	master = -1;
	if (shown.start == shown.end)
		close_end(&shown.to);
}

static void read_into(struct flow *flow, int from, void (*at_end)(void))
{
	ssize_t n = from < 0 || flow->start != flow->end ? -1 : read(from, flow->bytes, BUFFER);
	if (n > 0) {
		flow->start = 0;
		flow->end = (size_t)n;
	} else if (n == 0 || (from >= 0 && flow->start == flow->end && errno != EAGAIN && errno != EINTR)) {
		at_end();
	}
}

static void write_typed(void)
{
	ssize_t n = master < 0 || typed.start == typed.end ? -1 : write(master, typed.bytes + typed.start, typed.end - typed.start);
	if (n > 0)
		typed.start += (size_t)n;
}

/* What nobody reads is thrown away, so that the command does not wait for ever. */
static void write_shown(void)
{
	if (shown.start == shown.end)
		return;
	ssize_t n = shows ? write(shown.to, shown.bytes + shown.start, shown.end - shown.start) : (ssize_t)(shown.end - shown.start);
	if (n < 0 && errno == EPIPE) {
		shows = 0;
		close_end(&shown.to);
		shown.start = shown.end;
	}
	if (n > 0)
		shown.start += (size_t)n;
	if (shown.start == shown.end && master < 0)
		close_end(&shown.to);
}

static void terminal_ready(int fd, short events)
{
	if (fd == typed.from)
		read_into(&typed, typed.from, end_typing);
	if (fd == master && (events & (POLLIN | POLLHUP | POLLERR)))
		read_into(&shown, master, hang_up);
	write_typed();
	write_shown();
	arm_all();
}

void take_terminal(int fd)
{
	master = fd;
	shows = shown.to >= 0;
	check(fcntl(master, F_SETFL, O_NONBLOCK), "O_NONBLOCK");
	arm_all();
}

void resize_terminal(uint32_t columns, uint32_t rows)
{
	struct winsize size = {.ws_col = (unsigned short)columns, .ws_row = (unsigned short)rows};
	if (master >= 0)
		(void)ioctl(master, TIOCSWINSZ, &size); /* the kernel tells the command by SIGWINCH */
}

/* Whether there is output that the starter has not taken yet. */
int terminal_has_output(void)
{
	return master >= 0 || (shown.to >= 0 && shown.start != shown.end);
}
