/*
 * Outside: system calls that wait for the starter's answer (seccomp_unotify(2)).
 *
 * The calling process is hostile: it may change what its arguments point to at any time, and it may end, and its number be given to
 * another process, while it is asked about. Memory is therefore read through a descriptor that is opened before the kernel confirms
 * that the call still waits, and confirmed once more after; and what is opened for it is opened here, from the starter's copy.
 */
#include "launcher.h"

#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif

#define MAX_MEMORY 4096u /* bytes that one command reads or writes */
#define ANSWER_CONTINUE 1u

static int listener_fd = -1;

/* Room for what a newer kernel adds to the end of its structures. */
static union {
	struct seccomp_notif notification;
	unsigned char space[512];
} received;
static union {
	struct seccomp_notif_resp response;
	unsigned char space[512];
} answered;

/* ioctl takes an int in one C library and a long in another. */
static int ask(unsigned long request, void *argument)
{
	return (int)syscall(SYS_ioctl, listener_fd, request, argument);
}

static void put_word(unsigned char *at, uint64_t value)
{
	for (int i = 0; i < 8; i++)
		at[i] = (unsigned char)(value >> (8 * i));
}

static void stop_listening(void)
{
	unwatch_descriptor(listener_fd);
	close(listener_fd);
	listener_fd = -1;
}

/* One call that waits: id, process, flags, the call and its arguments, as 64-bit words. */
static void listener_ready(int fd, short events)
{
	unsigned char words[12 * 8];
	(void)fd;
	if (!(events & POLLIN)) {
		stop_listening(); /* every process under the filter has ended */
		return;
	}
	memset(&received, 0, sizeof received);
	if (ask(SECCOMP_IOCTL_NOTIF_RECV, &received) < 0)
		return; /* ENOENT, EINTR: the call has been given up */
	const struct seccomp_notif *call = &received.notification;
	put_word(words, call->id);
	put_word(words + 8, call->pid);
	put_word(words + 16, call->flags);
	put_word(words + 24, (uint32_t)call->data.nr);
	put_word(words + 32, call->data.arch);
	put_word(words + 40, call->data.instruction_pointer);
	for (int i = 0; i < 6; i++)
		put_word(words + 48 + 8 * i, call->data.args[i]);
	send_data(CONTROL_FD, EVENT_CALL, 0, 0, words, sizeof words);
}

void listen_for_calls(int fd)
{
	struct seccomp_notif_sizes sizes;
	current = index_of(OP_SECCOMP);
	check(syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes), "SECCOMP_GET_NOTIF_SIZES");
	if (sizes.seccomp_notif > sizeof received || sizes.seccomp_notif_resp > sizeof answered)
		fail(E2BIG, "SECCOMP_GET_NOTIF_SIZES");
	listener_fd = fd;
	watch_descriptor(fd, POLLIN, listener_ready);
}

/* ---- what the starter wants; each returns 0 or more, or -1 with errno ---- */

static int still_waits(uint64_t id)
{
	return ask(SECCOMP_IOCTL_NOTIF_ID_VALID, &id);
}

static int answer(struct operation *packet, uint64_t id)
{
	uint32_t flags = take_u32(packet), error = take_u32(packet);
	uint64_t value = take_u64(packet);
	memset(&answered, 0, sizeof answered);
	answered.response.id = id;
	answered.response.val = (int64_t)value;
	answered.response.error = -(int32_t)error;
	answered.response.flags = flags & ANSWER_CONTINUE ? SECCOMP_USER_NOTIF_FLAG_CONTINUE : 0;
	return ask(SECCOMP_IOCTL_NOTIF_SEND, &answered);
}

static int open_memory(uint32_t pid, uint64_t id, int flags)
{
	char path[32];
	snprintf(path, sizeof path, "/proc/%u/mem", pid);
	int fd = open(path, flags | O_CLOEXEC);
	if (fd < 0 || still_waits(id) == 0)
		return fd;
	close(fd);
	errno = ENOENT;
	return -1;
}

static ssize_t use_memory(struct operation *packet, uint64_t id, unsigned char *bytes, int writes)
{
	uint32_t pid = take_u32(packet);
	uint64_t address = take_u64(packet);
	uint32_t size;
	const unsigned char *given = NULL;
	if (writes)
		given = take_bytes(packet, &size);
	else
		size = take_u32(packet);
	if (size > MAX_MEMORY)
		size = MAX_MEMORY;
	int fd = open_memory(pid, id, writes ? O_RDWR : O_RDONLY);
	if (fd < 0)
		return -1;
	ssize_t n = writes ? pwrite(fd, given, size, (off_t)address) : pread(fd, bytes, size, (off_t)address);
	int saved = errno;
	if (n >= 0 && still_waits(id) < 0) {
		n = -1;
		saved = ENOENT;
	}
	close(fd);
	errno = saved == EIO ? EFAULT : saved;
	return n;
}

/* Puts `fd` into the calling process and makes its number the result of the call. */
static int add_descriptor(uint64_t id, int fd, uint32_t flags)
{
	struct seccomp_notif_addfd addition = {
		.id = id, .flags = SECCOMP_ADDFD_FLAG_SEND, .srcfd = (uint32_t)fd, .newfd_flags = flags & O_CLOEXEC};
	int number = ask(SECCOMP_IOCTL_NOTIF_ADDFD, &addition);
	if (number >= 0 || errno != EINVAL)
		return number;
	addition.flags = 0; /* before Linux 5.14 in two steps */
	number = ask(SECCOMP_IOCTL_NOTIF_ADDFD, &addition);
	if (number < 0)
		return -1;
	memset(&answered, 0, sizeof answered);
	answered.response.id = id;
	answered.response.val = number;
	return ask(SECCOMP_IOCTL_NOTIF_SEND, &answered) < 0 ? -1 : number;
}

static int add_opened(uint64_t id, int fd, uint32_t flags)
{
	if (fd < 0)
		return -1;
	int number = add_descriptor(id, fd, flags);
	int saved = errno;
	close(fd);
	errno = saved;
	return number;
}

/*
 * A file of the outside, by the rights of the starter. Whoever waits may have made a pipe of it, which nobody ever opens at its other end:
 * we must not wait for that, or nobody could end the sandbox any more. What is opened so is then as it was asked for.
 */
static int add_file(struct operation *packet, uint64_t id)
{
	uint32_t flags = take_u32(packet), mode = take_u32(packet);
	const char *path = take_text(packet);
	uint64_t creating = flags & O_CREAT ? mode & 07777 : 0;
	uint64_t firm = O_CLOEXEC | O_NOCTTY | (flags & O_PATH ? 0u : (unsigned)O_NONBLOCK);
	int fd = sys_openat2(AT_FDCWD, path, flags | firm, creating, RESOLVE_NO_MAGICLINKS);
	int shown = fd < 0 || flags & (O_NONBLOCK | O_PATH) ? 0 : fcntl(fd, F_GETFL);
	if (shown < 0 || (shown > 0 && fcntl(fd, F_SETFL, shown & ~O_NONBLOCK) < 0)) {
		close(fd);
		return -1;
	}
	return add_opened(id, fd, flags);
}

/* A descriptor that the starter has open. */
static int add_starters(struct operation *packet, uint64_t id)
{
	uint32_t flags = take_u32(packet), pid = take_u32(packet), number = take_u32(packet);
	int process = (int)syscall(SYS_pidfd_open, pid, 0);
	if (process < 0)
		return -1;
	int fd = (int)syscall(SYS_pidfd_getfd, process, number, 0);
	int saved = errno;
	close(process);
	errno = saved;
	return add_opened(id, fd, flags);
}

/* One command about a waiting call; what comes of it goes back under the starter's ticket. */
void obey_about_call(uint32_t command, uint32_t ticket, struct operation *packet)
{
	static unsigned char bytes[MAX_MEMORY];
	ssize_t result = -1;
	uint64_t id = take_u64(packet);
	int reads = command == COMMAND_READ_MEMORY;
	errno = ENOENT;
	if (listener_fd >= 0) {
		switch (command) {
		case COMMAND_ANSWER: result = answer(packet, id); break;
		case COMMAND_READ_MEMORY: result = use_memory(packet, id, bytes, 0); break;
		case COMMAND_WRITE_MEMORY: result = use_memory(packet, id, bytes, 1); break;
		case COMMAND_ADD_FILE: result = add_file(packet, id); break;
		case COMMAND_ADD_DESCRIPTOR: result = add_starters(packet, id); break;
		default: errno = EBADMSG; break;
		}
	}
	int error = result < 0 ? errno : 0;
	send_data(CONTROL_FD, EVENT_DONE, ticket, (uint32_t)error, bytes, reads && result > 0 ? (size_t)result : 0);
}
