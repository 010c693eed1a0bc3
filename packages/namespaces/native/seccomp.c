/* Inside: the system call filter. */
#include "launcher.h"

/* Kept for op_exec: nothing of ours but execve shall run under the filter. */
static struct sock_fprog filter;
static uint32_t filter_operation;

void op_seccomp(struct operation *op)
{
	uint32_t size;
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

void load_filter(void)
{
	if (filter.len > 0 && syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) < 0) {
		current = filter_operation;
		fail(errno, "seccomp");
	}
}
