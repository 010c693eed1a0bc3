/* Detached copies of trees, made outside where the caller's rights hold, and handed inside in one message. */
#include "launcher.h"

/*
 * A detached copy of what lies at a path outside. Whoever starts us names the path, but others may write below it: from there on
 * `below` leads, confined to it and past no symbolic link.
 */
static int copy_tree(const char *source, const char *below, unsigned recursive)
{
	unsigned flags = OPEN_TREE_CLONE | O_CLOEXEC | recursive;
	if (!below[0]) {
		int tree = sys_open_tree(AT_FDCWD, source, flags);
		check(tree, source);
		return tree;
	}
	int base = open(source, O_PATH | O_DIRECTORY | O_CLOEXEC);
	check(base, source);
	int end = sys_openat2(base, below, O_PATH | O_CLOEXEC, 0, RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
	check(end, below);
	int tree = sys_open_tree(end, "", flags | AT_EMPTY_PATH);
	check(tree, below);
	close(base);
	close(end);
	return tree;
}

void put_slot(uint32_t slot, int tree, const char *what)
{
	if (slot != slot_count || slot >= MAX_SLOTS)
		fail(E2BIG, what);
	slots[slot_count++] = tree;
}

/*
 * A copy made while we still see the tree as the caller does. Its owners may be shown through an id map. It never shares mounts
 * with the tree that it was copied from: what is mounted on it inside must not appear outside.
 */
void op_tree(struct operation *op)
{
	uint32_t slot = take_u32(op);
	unsigned recursive = take_u32(op) ? AT_RECURSIVE_TREE : 0;
	uint64_t propagation = take_u32(op) & MS_SLAVE ? MS_SLAVE : MS_PRIVATE;
	const char *source = take_text(op);
	const char *below = take_text(op);
	int tree = copy_tree(source, below, recursive);
	show_owners(tree, take_owners(op, source), recursive, propagation, source);
	put_slot(slot, tree, source);
}

static int v1_cgroups[MAX_CGROUPS];
static uint32_t v1_count;

/* Everything that the inside gets from us: streams, if it was there before they were, then cgroups to enter, then the trees. */
void send_slots(int socket)
{
	static int fds[MAX_STREAMS + MAX_CGROUPS + MAX_SLOTS];
	static union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof fds)];
	} control;
	unsigned char go[3] = {'G'};
	uint32_t count = give_streams(fds, &go[1]);
	v1_count = joins_namespaces() ? 0 : open_v1_cgroups(v1_cgroups); /* the joiner has entered them */
	current = NO_OPERATION;
	go[2] = (unsigned char)v1_count;
	memcpy(fds + count, v1_cgroups, v1_count * sizeof *fds);
	count += v1_count;
	struct iovec data = {.iov_base = go, .iov_len = sizeof go};
	struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};
	memcpy(fds + count, slots, slot_count * sizeof *slots);
	size_t size = (count + slot_count) * sizeof *fds;
	if (size > 0) {
		message.msg_control = control.space;
		message.msg_controllen = (socklen_t)CMSG_SPACE(size);
		struct cmsghdr *header = CMSG_FIRSTHDR(&message);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = (socklen_t)CMSG_LEN(size);
		memcpy(CMSG_DATA(header), fds, size);
	}
	long sent = sendmsg(socket, &message, MSG_NOSIGNAL);
	if (sent >= 0 || (errno != EPIPE && errno != ECONNRESET)) /* else the inside has ended, and why can still be read from it */
		check(sent, "hand-over");
	for (uint32_t i = 0; i < slot_count; i++)
		close(slots[i]);
	for (uint32_t i = 0; i < v1_count; i++)
		close(v1_cgroups[i]);
}

void receive_slots(int socket)
{
	static int fds[MAX_STREAMS + MAX_CGROUPS + MAX_SLOTS];
	static union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof fds)];
	} control;
	unsigned char go[3] = {0};
	struct iovec data = {.iov_base = go, .iov_len = sizeof go};
	struct msghdr message = {
		.msg_iov = &data, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof control.space};
	ssize_t n;
	do
		n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n != sizeof go || go[0] != 'G')
		_exit(FAILED_STATUS); /* the outer half has failed and reported it */
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	if (!header)
		return;
	uint32_t count = (uint32_t)((header->cmsg_len - CMSG_LEN(0)) / sizeof *fds);
	memcpy(fds, CMSG_DATA(header), count * sizeof *fds);
	uint32_t streams = (go[1] & 1u) + (go[1] >> 1 & 1u) + (go[1] >> 2 & 1u);
	take_streams(fds, go[1]);
	v1_count = go[2];
	memcpy(v1_cgroups, fds + streams, v1_count * sizeof *fds);
	slot_count = count - streams - v1_count;
	memcpy(slots, fds + streams + v1_count, slot_count * sizeof *slots);
}

void enter_cgroups(void)
{
	enter_v1_cgroups(v1_cgroups, v1_count);
}

/* The tree of a layer: one that was made outside, or a detached copy of what lies at a path. */
int take_tree(struct operation *op, int recursive)
{
	uint32_t slot = take_u32(op);
	const char *source = take_text(op);
	const char *below = take_text(op);
	if (slot != NO_SLOT) {
		if (slot >= slot_count || slots[slot] < 0)
			fail(EBADF, source);
		int tree = slots[slot];
		slots[slot] = -1;
		return tree;
	}
	return copy_tree(source, below, recursive ? (unsigned)AT_RECURSIVE_TREE : 0u);
}
