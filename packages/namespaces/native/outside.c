/* Outside: performs the operations that need the caller's own rights, and lets the inside begin. */
#include "launcher.h"

int write_file_at(int dir, const char *path, const char *text)
{
	int fd = openat(dir, path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	ssize_t n = write(fd, text, strlen(text));
	int saved = errno;
	close(fd);
	errno = saved;
	return n < 0 ? -1 : 0;
}

void write_child_file(const char *name, const char *text)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/%s", (int)child, name);
	check(write_file_at(AT_FDCWD, path, text), name);
}

static void perform_before(void)
{
	for (uint32_t i = 0; i < operation_count; i++) {
		struct operation op = operations[i];
		current = i;
		if (op.code == OP_NAMESPACES)
			namespaces = take_u32(&op);
		else if (op.code == OP_CGROUP)
			op_cgroup(&op);
#ifdef CASEMATE_FAULTS
		else if (op.code == OP_FAULT) {
			op_fault(&op);
			progress->checks = 0;
		}
#endif
		else if (op.code == OP_JOIN)
			op_join(&op);
		else
			continue;
		end_of(&op);
	}
}

static void perform_outside(void)
{
	for (uint32_t i = 0; i < operation_count; i++) {
		struct operation op = operations[i];
		current = i;
		switch ((enum code)op.code) {
		case OP_DENY_SETGROUPS: write_child_file("setgroups", "deny"); break;
		case OP_UID_MAP: op_id_map(&op, "uid_map"); break;
		case OP_GID_MAP: op_id_map(&op, "gid_map"); break;
		case OP_OOM_SCORE: write_child_file("oom_score_adj", take_text(&op)); break;
		case OP_TREE: op_tree(&op); break;
		case OP_SCHEDULING: op_scheduling(&op); break;
		case OP_RLIMIT: raise_hard_limit(&op); break;
		case OP_IMAGE: op_image(&op); break;
		case OP_NETLINK_OUTSIDE: op_netlink_outside(&op); break;
		default: continue;
		}
		end_of(&op);
	}
}

static int open_signals(void)
{
	sigset_t end;
	sigemptyset(&end);
	sigaddset(&end, SIGTERM);
	int fd = signalfd(-1, &end, SFD_CLOEXEC); /* the server has blocked all of them */
	check(fd, "signalfd");
	return fd;
}

/* A page that the inside shares with us: how far it got, should it be killed on the way. */
static void share_progress(void)
{
	progress = mmap(NULL, sizeof *progress, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (progress == MAP_FAILED)
		fail(errno, "mmap");
	progress->operation = NO_OPERATION;
}

/* What a watcher needs whatever it will watch; returns where it hears that it shall end. */
int begin_watcher(void)
{
	int signals = open_signals();
	share_progress();
	return signals;
}

/* All that we do in /proc goes by process ids: in the /proc of another pid namespace we would do it to strangers. */
static void refuse_foreign_proc(void)
{
	char self[16] = "";
	if (readlink("/proc/self", self, sizeof self - 1) > 0 && strtol(self, NULL, 10) != getpid())
		fail(EXDEV, "/proc shows another pid namespace");
}

static int make_child(void)
{
	int sockets[2];
	use_streams();
	check(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets), "socketpair");
	create_child(sockets[1], sockets[0]);
	close(sockets[1]);
	return sockets[0];
}

/*
 * The whole life of a watcher. The request is the sandbox that it is about or 0, the three standard streams, then the plan. Where the
 * first process waits already (spare.c), `waiting` is the socket to it.
 */
__attribute__((noreturn)) void start(const unsigned char *request, uint32_t size, int signals, int waiting)
{
	struct operation fields = {.at = request, .end = request + size};
	refuse_foreign_proc();
	if (take_u32(&fields))
		take_target(TARGET_FD);
	make_streams(&fields);
	read_plan(fields.at, (size_t)(fields.end - fields.at));
	check(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "PR_SET_CHILD_SUBREAPER");
	perform_before();
	int socket = waiting >= 0 ? waiting : make_child();
	perform_outside();
	current = NO_OPERATION;
	send_slots(socket);
	close_streams(); /* or a reader would never see the command close its streams */
	watch(socket, signals);
}
