/* Inside: the system call filter, and handing its notification descriptor to the outer half. */
#include "launcher.h"

/* Kept for op_exec: nothing of ours but execve shall run under the filter. */
static struct sock_fprog filter;
static uint32_t filter_operation;
static unsigned long filter_flags, optional_flags;

void op_seccomp(struct operation *op)
{
	uint32_t size;
	filter_flags = take_u32(op);
	optional_flags = take_u32(op);
	const unsigned char *bytes = take_bytes(op, &size);
	if (size == 0 || size % sizeof *filter.filter != 0)
		fail(EBADMSG, "seccomp");
	filter.filter = malloc(size);
	if (!filter.filter)
		fail(ENOMEM, "seccomp");
	memcpy(filter.filter, bytes, size); /* for its alignment */
	filter.len = (unsigned short)(size / sizeof *filter.filter);
	filter_operation = current;
}

/*
 * Once the filter is loaded this thread must make no call but execve: any other may be forbidden, or wait for an answer that nobody
 * can give yet. So a second thread, which the filter does not bind, waits for the descriptor and sends it; execve ends that thread.
 */
static volatile int listener = -1;
static volatile int handed_over;

static int hand_over(void *unused)
{
	(void)unused;
	struct timespec pause = {.tv_nsec = 20000};
	while (__atomic_load_n(&listener, __ATOMIC_ACQUIRE) < 0)
		(void)syscall(SYS_nanosleep, &pause, NULL);
	static union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	static unsigned char event[20];
	static struct iovec data = {.iov_base = event, .iov_len = sizeof event};
	static struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
	int fd = listener;
	event[0] = 16;
	event[8] = EVENT_LISTENER;
	control.header.cmsg_level = SOL_SOCKET;
	control.header.cmsg_type = SCM_RIGHTS;
	control.header.cmsg_len = (socklen_t)CMSG_LEN(sizeof fd);
	memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
	(void)syscall(SYS_sendmsg, report_fd, &message, MSG_NOSIGNAL);
	__atomic_store_n(&handed_over, 1, __ATOMIC_RELEASE);
	(void)syscall(SYS_exit, 0);
	return 0;
}

/* sched.h does not go together with linux/sched.h. */
int clone(int (*function)(void *), void *stack, int flags, void *argument, ...);

static void start_hand_over(void)
{
	enum { STACK = 65536 };
	char *stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	if (stack == MAP_FAILED)
		fail(errno, "mmap");
	int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
	check(clone(hand_over, stack + STACK, flags, NULL), "clone");
}

static long set_filter(unsigned long flags)
{
	long result = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags | optional_flags, &filter);
	if (result >= 0 || errno != EINVAL || optional_flags == 0)
		return result;
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &filter); /* an older kernel */
}

void load_filter(void)
{
	if (filter.len == 0)
		return;
	uint32_t executing = current;
	int listens = (filter_flags & SECCOMP_FILTER_FLAG_NEW_LISTENER) != 0;
	current = filter_operation;
	if (listens)
		start_hand_over();
	long result = set_filter(filter_flags);
	if (result < 0)
		fail(errno, "seccomp");
	if (listens) {
		__atomic_store_n(&listener, (int)result, __ATOMIC_RELEASE);
		while (!__atomic_load_n(&handed_over, __ATOMIC_ACQUIRE))
			;
	}
	current = executing;
}
