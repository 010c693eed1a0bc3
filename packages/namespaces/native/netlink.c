/*
 * Requests to the kernel's routing socket: rtnetlink(7). The plan has the messages; what only we can know is filled in, and what
 * the kernel answers is told with its own words. The answers come from the kernel, which netlink(7) lets nobody else pretend.
 */
#include "launcher.h"
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#define MAX_MESSAGE 2048u
#define MAX_REFERENCES 8u
#define MAX_MADE_LINKS 64u

static int netlink_fd = -1;
static int made_links[MAX_MADE_LINKS]; /* indexes of links outside that end with the sandbox */
static uint32_t made_link_count;

static int open_netlink(void)
{
	int on = 1;
	if (netlink_fd >= 0)
		return netlink_fd;
	netlink_fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (netlink_fd < 0)
		return -1;
	(void)setsockopt(netlink_fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on); /* words beside numbers: Linux 4.12 */
	(void)setsockopt(netlink_fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
	return netlink_fd;
}

/* The words of the kernel in an answer with an error: an attribute behind it, or "". */
static void find_words(const unsigned char *answer, size_t size, char *words, size_t room)
{
	const struct nlmsghdr *header = (const void *)answer;
	size_t at = NLMSG_HDRLEN + sizeof(struct nlmsgerr);
	const size_t head = sizeof(struct nlattr);
	words[0] = 0;
	if (!(header->nlmsg_flags & NLM_F_ACK_TLVS))
		return;
	while (at + head <= size) {
		const struct nlattr *attribute = (const void *)(answer + at);
		size_t length = attribute->nla_len;
		if (length < head || length > size - at)
			return;
		if (attribute->nla_type == NLMSGERR_ATTR_MSG)
			snprintf(words, room, "%.*s", (int)(length - head), (const char *)answer + at + head);
		at += (length + 3u) & ~(size_t)3u;
	}
}

/* Sends one message and waits for its acknowledgement. Returns 0 or an error number; `words` are the kernel's, or "". */
static int request(unsigned char *message, size_t size, char *words, size_t room)
{
	static uint32_t sequence;
	static _Alignas(struct nlmsghdr) unsigned char answer[8192];
	struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	struct nlmsghdr *header = (void *)message;
	words[0] = 0;
	header->nlmsg_seq = ++sequence;
	if (open_netlink() < 0)
		return errno;
	if (sendto(netlink_fd, message, size, 0, (const struct sockaddr *)&kernel, sizeof kernel) < 0)
		return errno;
	for (;;) {
		ssize_t n = recv(netlink_fd, answer, sizeof answer, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno;
		const struct nlmsghdr *got = (const void *)answer;
		size_t received = (size_t)n;
		if (received < NLMSG_HDRLEN + sizeof(struct nlmsgerr) || got->nlmsg_type != NLMSG_ERROR || got->nlmsg_seq != sequence)
			continue; /* not ours */
		const struct nlmsgerr *error = NLMSG_DATA(got);
		find_words(answer, received < got->nlmsg_len ? received : got->nlmsg_len, words, room);
		return -error->error;
	}
}

/* The number that a reference stands for: the index of a link, or without a name the sandbox's process. */
static uint32_t resolve(const char *link)
{
	if (!link[0])
		return (uint32_t)child;
	unsigned index = if_nametoindex(link);
	if (index == 0)
		fail(errno, link);
	return index;
}

static void remember_link(const char *name)
{
	unsigned index = name[0] ? if_nametoindex(name) : 0;
	if (index > 0 && made_link_count < MAX_MADE_LINKS)
		made_links[made_link_count++] = (int)index;
}

void op_netlink(struct operation *op)
{
	static _Alignas(struct nlmsghdr) unsigned char message[MAX_MESSAGE];
	char words[256], detail[512];
	struct {
		uint32_t at, value;
	} references[MAX_REFERENCES];
	uint32_t size;
	const char *what = take_text(op);
	uint32_t count = take_u32(op);
	if (count > MAX_REFERENCES)
		fail(E2BIG, what);
	for (uint32_t i = 0; i < count; i++) {
		references[i].at = take_u32(op);
		references[i].value = resolve(take_text(op));
	}
	const unsigned char *bytes = take_bytes(op, &size);
	if (size < NLMSG_HDRLEN || size > sizeof message)
		fail(EBADMSG, what);
	memcpy(message, bytes, size);
	for (uint32_t i = 0; i < count; i++) {
		if (references[i].at > size - sizeof references[i].value)
			fail(EBADMSG, what);
		memcpy(message + references[i].at, &references[i].value, sizeof references[i].value);
	}
	int error = request(message, size, words, sizeof words);
	if (error) {
		snprintf(detail, sizeof detail, "%s%s%s", what, words[0] ? ": " : "", words);
		fail(error, detail);
	}
}

void op_netlink_outside(struct operation *op)
{
	op_netlink(op);
	remember_link(take_text(op));
}

/*
 * The kernel removes a link with the namespace of its other end, but some time later. Whoever hears that the sandbox has ended
 * shall find its names and addresses free, so we do it first. An index is never used twice, unlike a name.
 */
void remove_links(void)
{
	char words[8];
	for (uint32_t i = 0; i < made_link_count; i++) {
		struct {
			struct nlmsghdr header;
			struct ifinfomsg link;
		} message = {
			.header = {.nlmsg_len = sizeof message, .nlmsg_type = RTM_DELLINK, .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
			.link = {.ifi_index = made_links[i]},
		};
		(void)request((unsigned char *)&message, sizeof message, words, sizeof words);
	}
	made_link_count = 0;
}

/* Whether we may change links where we are: the kernel checks that before it finds out that there is no such link. */
int try_change_links(int unused)
{
	char words[8];
	(void)unused;
	struct {
		struct nlmsghdr header;
		struct ifinfomsg link;
	} message = {
		.header = {.nlmsg_len = sizeof message, .nlmsg_type = RTM_DELLINK, .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
		.link = {.ifi_index = INT32_MAX},
	};
	errno = request((unsigned char *)&message, sizeof message, words, sizeof words);
	return errno == ENODEV ? 0 : -1;
}

/* Makes a pair of links, which vanish with the network namespace that we are in. */
int try_new_link(void)
{
	char words[8];
	struct {
		struct nlmsghdr header;
		struct ifinfomsg link;
		struct nlattr info;
		struct nlattr kind;
		char name[8];
	} message = {
		.header = {.nlmsg_len = sizeof message,
			   .nlmsg_type = RTM_NEWLINK,
			   .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL},
		.info = {.nla_len = 16, .nla_type = 18 /* IFLA_LINKINFO */},
		.kind = {.nla_len = 9, .nla_type = 1 /* IFLA_INFO_KIND */},
		.name = "veth",
	};
	errno = request((unsigned char *)&message, sizeof message, words, sizeof words);
	return errno ? -1 : 0;
}
