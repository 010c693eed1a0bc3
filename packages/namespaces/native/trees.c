/* Detached copies of trees, made outside where the caller's rights hold, and handed inside in one message. */
#include "launcher.h"

static void show_ids_of_child(int tree, unsigned recursive, const char *source)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/ns/user", (int)child);
	int users = open(path, O_RDONLY | O_CLOEXEC);
	check(users, path);
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_IDMAP, .propagation = MS_PRIVATE, .userns_fd = (uint32_t)users};
	check(sys_mount_setattr(tree, "", AT_EMPTY_PATH | recursive, &attr), source);
	close(users);
}

/* A detached copy of a tree, made while we still see it as root does; its owners may be shown through the sandbox's id map. */
void op_tree(struct operation *op)
{
	uint32_t slot = take_u32(op);
	unsigned recursive = take_u32(op) ? AT_RECURSIVE_TREE : 0;
	int id_mapped = take_u32(op) != 0;
	const char *source = take_text(op);
	if (slot != slot_count || slot >= MAX_SLOTS)
		fail(E2BIG, source);
	int tree = sys_open_tree(AT_FDCWD, source, OPEN_TREE_CLONE | O_CLOEXEC | recursive);
	check(tree, source);
	if (id_mapped)
		show_ids_of_child(tree, recursive, source);
	slots[slot_count++] = tree;
}

void send_slots(int socket)
{
	static union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof slots)];
	} control;
	char go = 'G';
	struct iovec data = {.iov_base = &go, .iov_len = 1};
	struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};
	size_t size = slot_count * sizeof *slots;
	if (slot_count > 0) {
		message.msg_control = control.space;
		message.msg_controllen = (socklen_t)CMSG_SPACE(size);
		struct cmsghdr *header = CMSG_FIRSTHDR(&message);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = (socklen_t)CMSG_LEN(size);
		memcpy(CMSG_DATA(header), slots, size);
	}
	check(sendmsg(socket, &message, MSG_NOSIGNAL), "hand-over");
	for (uint32_t i = 0; i < slot_count; i++)
		close(slots[i]);
}

void receive_slots(int socket)
{
	static union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof slots)];
	} control;
	char go = 0;
	struct iovec data = {.iov_base = &go, .iov_len = 1};
	struct msghdr message = {
		.msg_iov = &data, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof control.space};
	ssize_t n;
	do
		n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n != 1 || go != 'G')
		_exit(FAILED_STATUS); /* the outer half has failed and reported it */
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	if (!header)
		return;
	slot_count = (uint32_t)((header->cmsg_len - CMSG_LEN(0)) / sizeof *slots);
	memcpy(slots, CMSG_DATA(header), slot_count * sizeof *slots);
}

/* The tree of a layer: one that was made outside, or a detached copy of what lies at a path. */
int take_tree(struct operation *op, int recursive)
{
	uint32_t slot = take_u32(op);
	const char *source = take_text(op);
	if (slot != NO_SLOT) {
		if (slot >= slot_count || slots[slot] < 0)
			fail(EBADF, source);
		int tree = slots[slot];
		slots[slot] = -1;
		return tree;
	}
	int tree = sys_open_tree(AT_FDCWD, source, OPEN_TREE_CLONE | O_CLOEXEC | (recursive ? (unsigned)AT_RECURSIVE_TREE : 0u));
	check(tree, source);
	return tree;
}
