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

/* ---- descriptors over a packet socket ---- */

/* An event without text, and a descriptor with it. */
void send_descriptor(int socket, enum event type, int fd)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof fd)];
	} control = {.space = {0}};
	unsigned char frame[20] = {0};
	struct iovec data = {.iov_base = frame, .iov_len = sizeof frame};
	struct msghdr message = {
		.msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
	put_u32(frame, 16);
	put_u32(frame + 4, sandbox_id);
	put_u32(frame + 8, type);
	control.header = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
	control.header.cmsg_len = (socklen_t)CMSG_LEN(sizeof fd);
	memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
	(void)sendmsg(socket, &message, MSG_NOSIGNAL); /* a failure is not reported, as in send_event */
}

/*
 * One packet, and the descriptor that came with it or -1. Where the other end has closed without reading all that it was sent, the
 * kernel says so once before it hands out what that end had sent.
 */
ssize_t receive_packet(int socket, unsigned char *bytes, size_t size, int *passed)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof *passed)];
	} control;
	struct iovec data = {.iov_base = bytes, .iov_len = size};
	struct msghdr message = {
		.msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
	ssize_t n;
	do
		n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
	while (n < 0 && (errno == EINTR || errno == ECONNRESET));
	const struct cmsghdr *header = n < 0 ? NULL : CMSG_FIRSTHDR(&message);
	*passed = -1;
	if (header && header->cmsg_type == SCM_RIGHTS)
		memcpy(passed, CMSG_DATA(header), sizeof *passed);
	return n;
}

int receive_descriptor(int socket)
{
	unsigned char frame[20];
	int passed;
	return receive_packet(socket, frame, sizeof frame, &passed) == sizeof frame ? passed : -1;
}

#ifdef CASEMATE_FAULTS
static uint32_t failing_check, failing_errno;

/* For tests: the call that is checked as the n-th one counts as failed, whatever it did. */
void op_fault(struct operation *op)
{
	failing_check = take_u32(op);
	failing_errno = take_u32(op);
}

static void fail_on_demand(const char *detail)
{
	if (failing_check == 0 || __atomic_add_fetch(&progress->checks, 1, __ATOMIC_SEQ_CST) != failing_check)
		return;
	fail((int)failing_errno, detail);
}
#else
#define fail_on_demand(detail) ((void)0)
#endif

void check(long result, const char *detail)
{
	if (result >= 0)
		fail_on_demand(detail);
	if (result < 0)
		fail(errno, detail);
}
