/*
 * What the parts of casemate-launcher share: the plan's operations, the state of the one sandbox that a process makes, and the
 * functions that one part offers to another.
 *
 * Three places in the code matter for security, and each says who controls its input:
 *  - the plan is written by the starter, who has our privileges anyway: it is checked for shape, not for intent;
 *  - the root file system may be hostile: everything below it is opened with openat2 and no symbolic link is followed;
 *  - once exec has happened the sandbox is hostile: it holds no descriptor of ours and cannot open our image.
 */
#ifndef CASEMATE_LAUNCHER_H
#define CASEMATE_LAUNCHER_H

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CONTROL_FD 3 /* stream socket to the starter, which all of our processes outside share */
#define TARGET_FD 5 /* socket on which the sandbox that a request is about hands over its first process */
#define COMMAND_FD 4 /* packet socket from the server to one watcher */
#define MAX_PLAN (4u << 20)
#define MAX_OPERATIONS 4096u
#define MAX_SLOTS 218u /* with streams and cgroups 253, which is what the kernel passes at once */
#define MAX_PATH 4096u
#define MAX_EVENT 8192u /* bytes of an event with its length */
#define MAX_CGROUPS 32u
#define NO_SLOT 0xffffffffu
#define NO_OPERATION 0xffffffffu
#define MAX_STREAMS 3u
#define FAILED_STATUS 125
#define SERVER_NAME "casemate"
#define SPARE_NAME "casemate-spare" /* of a watcher that has no sandbox yet */
#define TOLD_STATUS 1 /* of a watcher that has itself told the starter how it ended */

/* Mount attributes and flags that older headers lack. */
#ifndef MOUNT_ATTR_IDMAP
#define MOUNT_ATTR_IDMAP 0x00100000
#endif
#ifndef OPEN_TREE_CLONE
#define OPEN_TREE_CLONE 1
#endif
#ifndef MOVE_MOUNT_F_EMPTY_PATH
#define MOVE_MOUNT_F_EMPTY_PATH 0x00000004
#define MOVE_MOUNT_T_EMPTY_PATH 0x00000040
#endif
#ifndef MS_PRIVATE
#define MS_UNBINDABLE (1 << 17)
#define MS_PRIVATE (1 << 18)
#define MS_SLAVE (1 << 19)
#define MS_SHARED (1 << 20)
#endif
#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1u << 2)
#endif
#define AT_RECURSIVE_TREE 0x8000
#define MNT_DETACH_FLAG 2

#define NEW_LATER (CLONE_NEWCGROUP | CLONE_NEWTIME) /* entered inside, see op_cgroup_namespace and op_time_namespace */

enum code {
	OP_NAMESPACES = 1,
	OP_CGROUP = 2,
	OP_JOIN = 3,
	OP_DENY_SETGROUPS = 10,
	OP_UID_MAP = 11,
	OP_GID_MAP = 12,
	OP_OOM_SCORE = 13,
	OP_TREE = 14,
	OP_IMAGE = 15,
	OP_NETLINK_OUTSIDE = 16,
	OP_SCHEDULING = 17,
	OP_CGROUP_NAMESPACE = 20,
	OP_TIME_NAMESPACE = 21,
	OP_PRIVATE_MOUNTS = 22,
	OP_STAGE = 23,
	OP_BIND = 24,
	OP_OVERLAY = 25,
	OP_MOUNT = 26,
	OP_MASK = 29,
	OP_READ_ONLY_PATH = 30,
	OP_PIVOT_ROOT = 31,
	OP_BECOME = 32,
	OP_FILE = 33,
	OP_NETLINK = 34,
	OP_DOMAIN_NAME = 35,
	OP_SYSCTL = 36,
	OP_OWNERS = 37,
	OP_DEVICES = 38,
	OP_HOSTNAME = 40,
	OP_LOOPBACK_UP = 41,
	OP_RLIMIT = 42,
	OP_NEW_SESSION = 43,
	OP_UMASK = 44,
	OP_BOUNDING_SET = 45,
	OP_GROUPS = 46,
	OP_IDS = 47,
	OP_CAPABILITIES = 48,
	OP_NO_NEW_PRIVILEGES = 49,
	OP_CHANGE_DIRECTORY = 50,
	OP_INIT = 51,
	OP_SECCOMP = 52,
	OP_EXEC = 53,
	OP_TERMINAL = 60,
	OP_SECURE_BITS = 54,
	OP_SESSION_KEYRING = 55,
	OP_LANDLOCK = 56,
};

enum event {
	EVENT_FAILED = 2,
	EVENT_RUNNING = 3,
	EVENT_EXITED = 4,
	EVENT_PROBE = 5,
	EVENT_GONE = 6,
	EVENT_STREAMS = 7,
	EVENT_JOINED = 11,   /* from the joiner only */
	EVENT_TERMINAL = 12, /* from the inside only, with the descriptor */
	EVENT_LISTENER = 8, /* from the inside only, with the descriptor */
	EVENT_CALL = 9,
	EVENT_DONE = 10,
};

/* What the starter tells a watcher: one packet of two numbers, the command and its argument, and what the command needs. */
enum command {
	COMMAND_SIGNAL = 1,
	COMMAND_STREAMS_TAKEN = 2,
	COMMAND_RESIZE = 3,
	COMMAND_HAND_OVER = 4, /* a socket comes with it */
	COMMAND_BEGIN = 5,     /* a spare watcher: the request lies in the memory that it shares with the server */
	/* about a system call that waits: the argument is a ticket, and more follows (notify.c) */
	COMMAND_ANSWER = 16,
	COMMAND_READ_MEMORY = 17,
	COMMAND_WRITE_MEMORY = 18,
	COMMAND_ADD_FILE = 19,
	COMMAND_ADD_DESCRIPTOR = 20,
};

/* One operation as it lies in the plan. */
struct operation {
	uint16_t code;
	const unsigned char *at;
	const unsigned char *end;
};

/* A directory that was made for us as a cgroup. */
struct cgroup {
	uint32_t version;
	const char *path;
};

/* What of a sandbox can be made before its plan is known. */
struct shape {
	uint64_t namespaces; /* CLONE_NEW… flags */
	uint32_t loopback;   /* it is up */
	uint32_t session;    /* it is a new one */
};

/* A request on its way to a spare watcher. */
struct handed {
	uint32_t id, size;
	unsigned char bytes[65536 - 8];
};

/* How far the inside got; memory that both halves share. */
struct progress {
	uint32_t operation;
	uint32_t executing; /* nothing but execve is left to do */
	uint32_t checks;    /* only counted where failures can be asked for */
};

/* ---- the state of the one sandbox that this process makes (state.c) ---- */

extern struct operation operations[MAX_OPERATIONS];
extern uint32_t operation_count;
extern uint32_t current; /* index of the operation that is being performed */

extern uint32_t sandbox_id; /* the starter's number for what this process does */
extern int report_fd; /* where events go: the starter, or inside the sandbox the outer half of us */
extern int inside;    /* whether this process is inside the sandbox */
extern pid_t child;   /* first process of the sandbox, as the outer half sees it; -1: none */
extern int child_pidfd;
extern struct cgroup cgroups[MAX_CGROUPS];
extern uint32_t cgroup_count;
extern uint64_t namespaces; /* CLONE_NEW… flags */

extern int slots[MAX_SLOTS]; /* trees made outside and handed inside */
extern uint32_t slot_count;
extern int stage_fd; /* root of the staging tmpfs */
extern int root_fd;  /* root of the new root */
extern int wants_init;
extern struct progress *progress;

/* ---- system calls without a wrapper in every C library ---- */

static inline int sys_openat2(int dir, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve)
{
	struct open_how how = {.flags = flags, .mode = mode, .resolve = resolve};
	return (int)syscall(SYS_openat2, dir, path, &how, sizeof how);
}

static inline int sys_open_tree(int dir, const char *path, unsigned flags)
{
	return (int)syscall(SYS_open_tree, dir, path, flags);
}

static inline int sys_move_mount(int from, int to)
{
	return (int)syscall(SYS_move_mount, from, "", to, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
}

static inline int sys_mount_setattr(int fd, const char *path, unsigned flags, struct mount_attr *attr)
{
	return (int)syscall(SYS_mount_setattr, fd, path, flags, attr, sizeof *attr);
}

static inline int sys_fsopen(const char *name)
{
	return (int)syscall(SYS_fsopen, name, 1 /* FSOPEN_CLOEXEC */);
}

static inline int sys_fsconfig(int fd, unsigned command, const char *key, const char *value)
{
	return (int)syscall(SYS_fsconfig, fd, command, key, value, 0);
}

static inline int sys_fsmount(int fd, uint64_t attributes)
{
	return (int)syscall(SYS_fsmount, fd, 1 /* FSMOUNT_CLOEXEC */, (unsigned)attributes);
}

static inline int sys_unshare(unsigned long flags)
{
	return (int)syscall(SYS_unshare, flags);
}

static inline int sys_pidfd_send_signal(int pidfd, int signal)
{
	return (int)syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0);
}

/* ---- report.c ---- */

void send_event(int fd, enum event type, uint32_t a, uint32_t b, const char *text);
void send_data(int fd, enum event type, uint32_t a, uint32_t b, const void *data, size_t size);
__attribute__((noreturn)) void fail(int error, const char *detail);
void check(long result, const char *detail);
#ifdef CASEMATE_FAULTS
#define OP_FAULT 9
void op_fault(struct operation *op);
#endif

void send_descriptor(int socket, enum event type, int fd);
ssize_t receive_packet(int socket, unsigned char *bytes, size_t size, int *passed);
int receive_descriptor(int socket);

/* ---- plan.c ---- */

uint32_t get_u32(const unsigned char *at);
uint32_t take_u32(struct operation *op);
uint64_t take_u64(struct operation *op);
const unsigned char *take_bytes(struct operation *op, uint32_t *size);
const char *take_text(struct operation *op);
void end_of(const struct operation *op);
int read_exactly(int fd, unsigned char *to, size_t size);
void read_plan(const unsigned char *bytes, size_t size);
char **take_strings(struct operation *op);
uint32_t index_of(uint16_t code);

/* ---- cgroup.c ---- */

void op_cgroup(struct operation *op);
uint32_t open_v1_cgroups(int fds[MAX_CGROUPS]);
void enter_v1_cgroups(const int *fds, uint32_t count);
void join_v1_cgroups(void);
int open_v2_cgroup(void);
void remove_cgroups(void);

/* ---- ids.c ---- */

void op_id_map(struct operation *op, const char *file);
int take_own_namespace(struct operation *op, const char *what); /* of two lists of ranges; -1 if they are empty */
int take_owners(struct operation *op, const char *what);        /* which user namespace maps the owners of a tree; -1: none */
void show_owners(int mount, int owners, unsigned recursive, uint64_t propagation, const char *what);

/* ---- trees.c ---- */

void op_tree(struct operation *op);
void put_slot(uint32_t slot, int tree, const char *what);
void send_slots(int socket);
void receive_slots(int socket);
void enter_cgroups(void);
int take_tree(struct operation *op, int recursive);

/* ---- loop.c ---- */

void op_image(struct operation *op);

/* ---- paths.c ---- */

int open_inside(const char *path, uint64_t flags);
int open_directory(const char *path, int make);
int open_parent(const char *path, const char **name, int make);
int open_target(const char *path, int is_directory);
int is_directory(int fd);

/* ---- mounts.c ---- */

void make_private(uint64_t propagation);
void op_private_mounts(struct operation *op);
void check_context(long result, int fs, const char *what);
int open_context(const char *type);
void set_option(int fs, const char *key, const char *value, const char *what);
void take_options(struct operation *op, int fs); /* fs -1: only reads over them */
int finish_context(int fs, uint64_t attributes, const char *what);
int new_tmpfs(const char *size, const char *mode, uint64_t attributes, const char *what);
void op_stage(void);
void op_bind(struct operation *op);
void op_overlay(struct operation *op);
void op_mount(struct operation *op);
void op_owners(struct operation *op);
void op_devices(struct operation *op);
void op_file(struct operation *op);
void op_mask(struct operation *op);
void op_read_only_path(struct operation *op);
void op_pivot_root(void);

/* ---- namespaces.c ---- */

void op_cgroup_namespace(void);
void op_time_namespace(struct operation *op);
int leave_chroot(void);
void create_child(int socket_inside, int socket_outside);

/* ---- join.c ---- */

void take_target(int socket);
void op_join(struct operation *op);
int joins_namespaces(void);
uint64_t joined_kinds(void);
__attribute__((noreturn)) void become_joiner(int socket);
void join_as_child(pid_t joiner, int socket_outside);

/* ---- terminal.c ---- */

void op_terminal(struct operation *op);
void keep_terminal_pipe(int number, int fd);
void take_terminal(int fd);
void resize_terminal(uint32_t columns, uint32_t rows);
int terminal_has_output(void);

/* ---- network.c ---- */

int raise_loopback(void);
void op_domain_name(struct operation *op);
void op_sysctl(struct operation *op);

/* ---- netlink.c ---- */

void op_netlink(struct operation *op);
void op_netlink_outside(struct operation *op);
void remove_links(void);
int try_change_links(int unused);
int try_new_link(void);

/* ---- privileges.c ---- */

void op_rlimit(struct operation *op);
void op_bounding_set(struct operation *op);
void op_groups(struct operation *op);
void op_ids(struct operation *op);
void op_become(struct operation *op);
void op_capabilities(struct operation *op);
void op_secure_bits(struct operation *op);
void op_session_keyring(void);

/* ---- scheduling.c ---- */

void op_scheduling(struct operation *op);
void raise_hard_limit(struct operation *op);

/* ---- landlock.c ---- */

void op_landlock(struct operation *op);

/* ---- notify.c ---- */

void listen_for_calls(int fd);
void obey_about_call(uint32_t command, uint32_t ticket, struct operation *packet);

/* ---- seccomp.c ---- */

void op_seccomp(struct operation *op);
void load_filter(void);

/* ---- command.c ---- */

void die_with_parent(void);
void op_exec(struct operation *op);
void default_signals(void);
void unblock_signals(void);
void become_init(void);

/* ---- inside.c ---- */

void enter_inside(int socket);
__attribute__((noreturn)) void perform_inside_all(const struct shape *done);
__attribute__((noreturn)) void run_inside(int socket);

/* ---- outside.c ---- */

int write_file_at(int dir, const char *path, const char *text);
void write_child_file(const char *name, const char *text);
int begin_watcher(void);
__attribute__((noreturn)) void start(const unsigned char *request, uint32_t size, int signals, int socket_inside_waits);

/* ---- spare.c ---- */

struct handed *share_request(void);
int shape_of(const unsigned char *request, size_t size, struct shape *shape);
__attribute__((noreturn)) void be_spare(struct handed *memory, const struct shape *shape);

/* ---- streams.c ---- */

void make_streams(struct operation *request);
void use_streams(void);
uint32_t give_streams(int fds[MAX_STREAMS], unsigned char *which);
void take_streams(const int *fds, unsigned char which);
void close_streams(void);
int streams_wait_for_starter(void);
void streams_taken(void);

/* ---- watch.c ---- */

/*
 * Watching: `ready` is called, in the outer half, whenever one of `events` (poll) is there on `fd`. The descriptor stays the
 * caller's: after `unwatch` it may close it.
 */
typedef void on_ready(int fd, short events);
void watch_descriptor(int fd, short events, on_ready *ready);
void unwatch_descriptor(int fd);
void end_sandbox(void);
__attribute__((noreturn)) void watch(int socket, int signals);

/* ---- devices.c ---- */

__attribute__((noreturn)) void attach_devices(const unsigned char *body, size_t size);
__attribute__((noreturn)) void watch_pressure(const unsigned char *body, size_t size);

/* ---- probe.c ---- */

__attribute__((noreturn)) void probe(void);

/* ---- image.c, server.c ---- */

void run_sealed(char **argv);
__attribute__((noreturn)) void serve(void);

#endif
