/*
 * The standard streams of the command. For a pipe the starter gets a path of ours in /proc that it opens, since a Node process
 * can open a path but cannot receive a descriptor; we keep its end open until it has done so.
 */
#include "launcher.h"

enum kind { STREAM_IGNORE = 0, STREAM_INHERIT = 1, STREAM_PIPE = 2, STREAM_TERMINAL = 3 };

static int kept[MAX_STREAMS] = {-1, -1, -1};  /* the ends for the starter */
static int given[MAX_STREAMS] = {-1, -1, -1}; /* those for the command; -1: what it inherits */

static int open_null(void)
{
	static int null = -1;
	if (null < 0)
		null = open("/dev/null", O_RDWR | O_CLOEXEC);
	check(null, "/dev/null");
	return null;
}

static int make_stream(uint32_t kind, int number)
{
	int ends[2];
	switch ((enum kind)kind) {
	case STREAM_INHERIT: return -1;
	case STREAM_IGNORE: return open_null();
	case STREAM_TERMINAL: {
		int ours = number == STDIN_FILENO ? 0 : 1;
		check(pipe2(ends, O_CLOEXEC), "pipe");
		kept[number] = ends[1 - ours];
		keep_terminal_pipe(number, ends[ours]);
		return open_null(); /* until the terminal is there */
	}
	case STREAM_PIPE: {
		int own = number == STDIN_FILENO ? 0 : 1;
		check(pipe2(ends, O_CLOEXEC), "pipe");
		(void)fchmod(ends[0], 0666); /* so that the command, who is another user, can open it by name too */
		kept[number] = ends[1 - own];
		return ends[own];
	}
	default: fail(EBADMSG, "streams");
	}
}

int streams_wait_for_starter(void)
{
	return kept[0] >= 0 || kept[1] >= 0 || kept[2] >= 0;
}

/* By the number that /proc has of us, which is the one that the starter sees. */
static void announce(void)
{
	char self[16] = "", text[3 * 48];
	size_t used = 0;
	check(readlink("/proc/self", self, sizeof self - 1), "/proc/self");
	for (int i = 0; i < (int)MAX_STREAMS; i++)
		used += (size_t)(kept[i] < 0 ? snprintf(text + used, sizeof text - used, "- ")
					     : snprintf(text + used, sizeof text - used, "/proc/%s/fd/%d ", self, kept[i]));
	send_event(CONTROL_FD, EVENT_STREAMS, 0, 0, text);
}

void make_streams(struct operation *request)
{
	for (int i = 0; i < (int)MAX_STREAMS; i++)
		given[i] = make_stream(take_u32(request), i);
	if (streams_wait_for_starter())
		announce();
}

/* For a command that has yet to be forked: our own streams are what it gets. */
void use_streams(void)
{
	for (int i = 0; i < (int)MAX_STREAMS; i++)
		if (given[i] >= 0)
			check(dup2(given[i], i), "dup2");
	for (int i = 0; i < (int)MAX_STREAMS; i++) {
		if (given[i] > STDERR_FILENO)
			(void)close(given[i]); /* one may be there twice */
		given[i] = -1;
	}
}

/* For one that exists already: the descriptors to send to it, and as bits which of its streams they become. */
uint32_t give_streams(int fds[MAX_STREAMS], unsigned char *which)
{
	uint32_t count = 0;
	*which = 0;
	for (uint32_t i = 0; i < MAX_STREAMS; i++) {
		if (given[i] < 0)
			continue;
		*which = (unsigned char)(*which | 1u << i);
		fds[count++] = given[i];
	}
	return count;
}

void take_streams(const int *fds, unsigned char which)
{
	for (int i = 0; i < (int)MAX_STREAMS; i++) {
		if (!(which >> i & 1))
			continue;
		check(dup2(*fds, i), "dup2");
		close(*fds++);
	}
}

/* The command has its own copies now. */
void close_streams(void)
{
	for (int i = 0; i < (int)MAX_STREAMS; i++) {
		close(i);
		if (given[i] > STDERR_FILENO)
			(void)close(given[i]);
	}
}

void streams_taken(void)
{
	for (int i = 0; i < (int)MAX_STREAMS; i++) {
		if (kept[i] >= 0)
			close(kept[i]);
		kept[i] = -1;
	}
}
