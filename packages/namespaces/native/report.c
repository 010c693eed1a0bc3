/* Events to the starter, and the one way to fail: which operation, which error number, what it was about. */
#include "launcher.h"

static void put_u32(unsigned char *at, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		at[i] = (unsigned char)(value >> (8 * i));
}

static int write_all(int fd, const void *data, size_t size)
{
	const unsigned char *at = data;
	while (size > 0) {
		ssize_t n = send(fd, at, size, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		at += n;
		size -= (size_t)n;
	}
	return 0;
}

/* An event: which sandbox, type, two numbers, text. A failure to send is not reported: whoever would read it is gone. */
void send_data(int fd, enum event type, uint32_t a, uint32_t b, const void *data, size_t size)
{
	static unsigned char frame[MAX_EVENT];
	size_t length = size < MAX_EVENT - 20 ? size : MAX_EVENT - 20;
	put_u32(frame, (uint32_t)(16 + length));
	put_u32(frame + 4, sandbox_id);
	put_u32(frame + 8, type);
	put_u32(frame + 12, a);
	put_u32(frame + 16, b);
	memcpy(frame + 20, data, length);
	/* One call: watchers share the socket, and the kernel does not mix what single calls of this size send. */
	(void)write_all(fd, frame, 20 + length);
}

void send_event(int fd, enum event type, uint32_t a, uint32_t b, const char *text)
{
	send_data(fd, type, a, b, text, strnlen(text, MAX_EVENT));
}

/* Reports that the current operation failed, and ends this process. */
__attribute__((noreturn)) void fail(int error, const char *detail)
{
	send_event(report_fd, EVENT_FAILED, current, (uint32_t)error, detail);
	if (!inside)
		end_sandbox();
	_exit(FAILED_STATUS);
}

void check(long result, const char *detail)
{
	if (result < 0)
		fail(errno, detail);
}
