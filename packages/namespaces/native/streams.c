/*
 * The standard streams of the command. For a pipe the starter gets a path of ours in /proc that it opens, since a Node process
 * can open a path but cannot receive a descriptor; we keep its end open until it has done so.
 */
#include "launcher.h"

enum kind { STREAM_IGNORE = 0, STREAM_INHERIT = 1, STREAM_PIPE = 2, STREAM_TERMINAL = 3 };

static int kept[3] = {-1, -1, -1}; /* the ends for the starter */

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

/* Our number in the /proc that we see, which is the one that the starter sees: not always the one of our pid namespace. */
static void announce(void)
{
	char self[16] = "", text[3 * 48];
	size_t used = 0;
	check(readlink("/proc/self", self, sizeof self - 1), "/proc/self");
	for (int i = 0; i < 3; i++)
		used += (size_t)(kept[i] < 0 ? snprintf(text + used, sizeof text - used, "- ")
					     : snprintf(text + used, sizeof text - used, "/proc/%s/fd/%d ", self, kept[i]));
	send_event(CONTROL_FD, EVENT_STREAMS, 0, 0, text);
}

void make_streams(struct operation *request)
{
	int ends[3];
	for (int i = 0; i < 3; i++)
		ends[i] = make_stream(take_u32(request), i);
	for (int i = 0; i < 3; i++) {
		if (ends[i] < 0)
			continue;
		check(dup2(ends[i], i), "dup2");
	}
	for (int i = 0; i < 3; i++)
		if (ends[i] > STDERR_FILENO)
			(void)close(ends[i]); /* one may be there twice */
	if (streams_wait_for_starter())
		announce();
}

/* The command has its own copies now. */
void close_streams(void)
{
	close(STDIN_FILENO);
	close(STDOUT_FILENO);
	close(STDERR_FILENO);
}

void streams_taken(void)
{
	for (int i = 0; i < 3; i++) {
		if (kept[i] >= 0)
			close(kept[i]);
		kept[i] = -1;
	}
}
