/*
 * Attempts to get out of a sandbox, or to take from the machine what a sandbox must not have: `attempts NAME [ARGUMENT…]`.
 *
 * Each tries one thing and says by its exit status what came of it: 0 is success, 100 + errno is a refusal, 99 is an attempt that could
 * not even be prepared. An attempt stops where harm would begin: a file is opened for writing and not written, and a call that would stop
 * the machine is made with arguments that the kernel looks at only after it has checked the caller's rights (attempts.ts names those).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/perf_event.h>
#include <linux/sched.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/klog.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static char **args; /* what follows the name */

static int broken(void)
{
	perror("not prepared");
	exit(99);
}

static pid_t victim(void)
{
	return args[0] ? atoi(args[0]) : 1;
}

static int opened(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd >= 0)
		close(fd);
	return fd < 0 ? -1 : 0;
}

/* A privilege that shows by an error which the kernel gives only to those who have it. */
static int passed(long result, int shows)
{
	return result >= 0 || errno == shows ? 0 : -1;
}

/* ---- mounts and the root ---- */

static int mount_tmpfs(void) { return mount("none", "/tmp", "tmpfs", 0, NULL); }
static int mount_proc(void) { return mount("proc", "/tmp", "proc", 0, NULL); }
static int mount_bind(void) { return mount("/etc", "/tmp", NULL, MS_BIND, NULL); }
static int mount_new_api(void) { return (int)syscall(SYS_fsopen, "tmpfs", 0); }
static int mount_tree(void) { return (int)syscall(SYS_open_tree, AT_FDCWD, "/etc", 1 /* OPEN_TREE_CLONE */); }
static int unmount_mask(void) { return umount2(args[0], MNT_DETACH); }
static int remount_writable(void)
{
	return mount(NULL, "/proc/sys", NULL, MS_REMOUNT | MS_BIND | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
}
static int pivot(void)
{
	long result = syscall(SYS_pivot_root, "/", "/");
	return result < 0 && errno == EINVAL ? 0 : passed(result, EBUSY);
}


static int change_root(void)
{
	if (mkdir("/tmp/jail", 0755) < 0 && errno != EEXIST)
		return broken();
	if (chroot("/tmp/jail") < 0)
		return -1;
	for (int i = 0; i < 64; i++) /* the working directory is above the new root: the old way out of a chroot */
		if (chdir("..") < 0)
			return broken();
	return opened("bin", O_RDONLY | O_DIRECTORY);
}

static int overlay_device(void)
{
	return mknod("/tmp/disk", S_IFBLK | 0600, makedev(8, 0));
}

static int create_file(void)
{
	int fd = open(args[0], O_CREAT | O_WRONLY, 0600);
	if (fd < 0)
		return -1;
	close(fd);
	return 0;
}

static int read_file(void)
{
	char byte;
	int fd = open(args[0], O_RDONLY | O_NONBLOCK);
	if (fd < 0)
		return -1;
	ssize_t n = read(fd, &byte, 1);
	if (n == 0)
		errno = ENODATA; /* an empty file lies over it */
	return n == 1 ? 0 : -1;
}

static int open_to_read(void) { return opened(args[0], O_RDONLY); }
static int open_to_write(void) { return opened(args[0], O_WRONLY); }

static int handle_of_inode(void)
{
	struct {
		struct file_handle head;
		unsigned char bytes[128];
	} handle = {.head.handle_bytes = 128};
	int mount_id, root = open(args[0], O_RDONLY | O_DIRECTORY);
	if (root < 0 || name_to_handle_at(AT_FDCWD, args[0], &handle.head, &mount_id, 0) < 0)
		return broken();
	return open_by_handle_at(root, &handle.head, O_RDONLY | O_DIRECTORY);
}

static int flush_disk(void)
{
	int fd = open(args[0], O_RDONLY | O_NONBLOCK);
	if (fd < 0)
		return broken();
	return ioctl(fd, BLKFLSBUF, 0);
}

static int run_set_uid(void)
{
	pid_t pid = fork();
	if (pid == 0) {
		execl(args[0], args[0], "who-am-i", (char *)NULL);
		_exit(99);
	}
	int status;
	if (pid < 0 || waitpid(pid, &status, 0) < 0 || !WIFEXITED(status))
		return broken();
	if (WEXITSTATUS(status) == 99)
		return broken();
	errno = WEXITSTATUS(status) - 100;
	return WEXITSTATUS(status) == 0 ? 0 : -1;
}

static int who_am_i(void)
{
	errno = EPERM;
	return geteuid() == 0 ? 0 : -1;
}

/* ---- other processes ---- */

static int in_proc(const char *file, int flags)
{
	char path[256];
	snprintf(path, sizeof path, "/proc/%d/%s", (int)victim(), file);
	return opened(path, flags);
}

static int proc_root(void) { return in_proc("root/etc", O_RDONLY); }
static int proc_environ(void) { return in_proc("environ", O_RDONLY); }
static int proc_memory(void) { return in_proc("mem", O_RDWR); }
static int proc_descriptors(void) { return in_proc("fd", O_RDONLY | O_DIRECTORY); }
static int signal_outside(void) { return kill(victim(), 0); }
static int pidfd_outside(void) { return (int)syscall(SYS_pidfd_open, victim(), 0); }
static int priority_outside(void) { return setpriority(PRIO_PROCESS, (id_t)victim(), 0); }
static int group_outside(void) { return getpgid(victim()) < 0 ? -1 : 0; }

static int trace_outside(void)
{
	if (ptrace(PTRACE_SEIZE, victim(), NULL, NULL) < 0)
		return -1;
	/* A tracer that ends lets go of what it has seized. */
	return 0;
}

static int read_memory_outside(void)
{
	char byte;
	struct iovec to = {&byte, 1}, from = {args[1] ? (void *)strtoul(args[1], NULL, 16) : NULL, 1};
	return passed(process_vm_readv(victim(), &to, 1, &from, 1, 0), EFAULT);
}

static int limit_outside(void)
{
	struct rlimit now;
	return prlimit(victim(), RLIMIT_NOFILE, NULL, &now);
}

static int affinity_outside(void)
{
	cpu_set_t all;
	if (sched_getaffinity(0, sizeof all, &all) < 0)
		return broken();
	return sched_setaffinity(victim(), sizeof all, &all);
}

static int compare_outside(void)
{
	return syscall(SYS_kcmp, getpid(), victim(), 1 /* KCMP_VM */, 0, 0) < 0 ? -1 : 0;
}

/* Waits until nothing executes the program of the other process, and then opens that for writing: CVE-2019-5736. */
static int overwrite_program(void)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/exe", (int)victim());
	int image = open(path, O_RDONLY);
	if (image < 0)
		return -1;
	snprintf(path, sizeof path, "/proc/self/fd/%d", image);
	for (int i = 0; i < 300; i++) {
		if (opened(path, O_WRONLY) == 0)
			return 0;
		if (errno != ETXTBSY)
			return -1;
		usleep(10000);
	}
	return -1;
}

static int terminal_injection(void)
{
	char byte = '#';
	return ioctl(STDIN_FILENO, TIOCSTI, &byte);
}

static int descriptor_left_open(void)
{
	struct stat info;
	for (int fd = 3; fd < 1024; fd++)
		if (fstat(fd, &info) == 0)
			return 0;
	errno = EBADF;
	return -1;
}

/* ---- namespaces ---- */

static int new_user_namespace(void) { return unshare(CLONE_NEWUSER); }
static int new_mount_namespace(void) { return unshare(CLONE_NEWNS); }

static int reap(long pid)
{
	if (pid == 0)
		_exit(0);
	if (pid > 0)
		(void)waitpid((pid_t)pid, NULL, 0);
	return pid < 0 ? -1 : 0;
}

static int clone_user_namespace(void) { return reap(syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL)); }

static int clone3_user_namespace(void)
{
	struct clone_args how = {.flags = CLONE_NEWUSER, .exit_signal = SIGCHLD};
	return reap(syscall(SYS_clone3, &how, sizeof how));
}

static int join_namespace(void)
{
	int fd = open("/proc/self/ns/uts", O_RDONLY);
	if (fd < 0)
		return broken();
	return setns(fd, 0);
}

/* The same through the 32-bit entry of the kernel, whose call numbers are others. */
static int old_entry(void)
{
#ifdef __x86_64__
	long result;
	__asm__ volatile("int $0x80" : "=a"(result) : "a"(310 /* unshare */), "b"((long)CLONE_NEWUSER) : "r8", "r9", "r10", "r11", "memory");
	if (result < 0)
		errno = (int)-result;
	return result < 0 ? -1 : 0;
#else
	return unshare(CLONE_NEWUSER);
#endif
}

static int set_host_name(void) { return sethostname("escaped", 7); }
static int set_domain_name(void) { return setdomainname("escaped", 7); }

static int shared_memory(void)
{
	struct shmid_ds info;
	return shmctl(atoi(args[0]), IPC_STAT, &info) < 0 ? -1 : 0;
}

/* ---- network ---- */

static int raw_socket(void) { return socket(AF_INET, SOCK_RAW, IPPROTO_ICMP); }
static int packet_socket(void) { return socket(AF_PACKET, SOCK_RAW, 0); }
static int machine_socket(void) { return socket(AF_VSOCK, SOCK_STREAM, 0); }

static int configure_network(void)
{
	struct ifreq request = {.ifr_name = "lo"};
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &request) < 0)
		return broken();
	return ioctl(fd, SIOCSIFFLAGS, &request);
}

static int low_port(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(80), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	if (fd < 0)
		return broken();
	return bind(fd, (struct sockaddr *)&at, sizeof at);
}

static int connect_loopback(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	at.sin_port = htons((uint16_t)atoi(args[0]));
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	if (fd < 0)
		return broken();
	return connect(fd, (struct sockaddr *)&at, sizeof at);
}

static int connect_unix(int is_abstract)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	size_t length = strlen(args[0]);
	if (length + 1 >= sizeof at.sun_path)
		return broken();
	memcpy(at.sun_path + is_abstract, args[0], length);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (fd < 0)
		return broken();
	if (connect(fd, (struct sockaddr *)&at, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + 1)) == 0)
		return 0;
	/* An abstract name has a length, and some programs take all that there is. */
	return is_abstract ? connect(fd, (struct sockaddr *)&at, sizeof at) : -1;
}

static int abstract_socket(void) { return connect_unix(1); }

/* Whoever listens there could pass descriptors of the outside in. */
static int path_socket(void) { return connect_unix(0); }

/* ---- the kernel ---- */

static int get_keyring(void) { return syscall(SYS_keyctl, 0 /* KEYCTL_GET_KEYRING_ID */, -3 /* session */, 1) < 0 ? -1 : 0; }
static int add_key(void) { return syscall(SYS_add_key, "user", "casemate-escape", "x", 1, -2 /* process */) < 0 ? -1 : 0; }
static int request_key(void) { return passed(syscall(SYS_request_key, "user", "casemate-none", NULL, 0), ENOKEY); }

static int load_bpf(void)
{
	struct bpf_insn program[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 0},
		{.code = BPF_JMP | BPF_EXIT},
	};
	union bpf_attr attr = {
		.prog_type = BPF_PROG_TYPE_SOCKET_FILTER,
		.insns = (uintptr_t)program,
		.insn_cnt = 2,
		.license = (uintptr_t) "GPL",
	};
	return (int)syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof attr);
}

static int user_faults(void) { return (int)syscall(SYS_userfaultfd, O_CLOEXEC | 1 /* UFFD_USER_MODE_ONLY */); }

static int io_ring(void)
{
	unsigned params[30] = {0};
	return (int)syscall(425 /* io_uring_setup */, 1, params);
}

static int perf_event(void)
{
	struct perf_event_attr attr = {.type = PERF_TYPE_SOFTWARE, .size = sizeof attr, .config = PERF_COUNT_SW_CPU_CLOCK};
	return (int)syscall(SYS_perf_event_open, &attr, -1, 0, -1, 0); /* every process of CPU 0 */
}

static int load_kernel(void) { return passed(syscall(SYS_kexec_load, 0, 0, NULL, 0xdead0000UL | 0x8), EINVAL); }
static int load_module(void) { return syscall(SYS_init_module, NULL, 0, "") < 0 && (errno == EFAULT || errno == ENOEXEC) ? 0 : -1; }
static int load_module_file(void) { return passed(syscall(SYS_finit_module, -1, "", 0), EBADF); }
static int unload_module(void) { return passed(syscall(SYS_delete_module, "casemate_none", O_NONBLOCK), ENOENT); }
static int swap_on(void) { return passed(syscall(SYS_swapon, "/casemate/none", 0), ENOENT); }
static int swap_off(void) { return passed(syscall(SYS_swapoff, "/casemate/none"), ENOENT); }
static int reboot_machine(void) { return passed(syscall(SYS_reboot, 0, 0, 0, NULL), EINVAL); }
static int kernel_log(void) { return klogctl(10 /* SYSLOG_ACTION_SIZE_BUFFER */, NULL, 0) < 0 || klogctl(3, (char[64]){0}, 64) < 0 ? -1 : 0; }
static int fixed_addresses(void) { return syscall(SYS_personality, 0x0040000 /* ADDR_NO_RANDOMIZE */) < 0 ? -1 : 0; }
static int process_accounting(void) { return passed(syscall(SYS_acct, "/casemate/none"), ENOENT); }
static int watch_machine(void) { return (int)syscall(SYS_fanotify_init, 0, O_RDONLY); }
static int disk_quota(void) { return passed(syscall(SYS_quotactl, (0x800002u << 8) /* Q_QUOTAON */, "/casemate/none", 0, NULL), ENOENT); }

static int set_clock(void)
{
	struct timex change = {.modes = ADJ_TICK, .tick = 1}; /* out of range, which is looked at after the rights */
	return passed(adjtimex(&change), EINVAL);
}

static int hardware_ports(void)
{
#if defined __x86_64__
	return syscall(SYS_ioperm, 0x80, 1, 1) < 0 ? -1 : 0;
#else
	errno = ENOSYS;
	return -1;
#endif
}

static int release_agent(void)
{
	if (mkdir("/tmp/cgroup", 0755) < 0 && errno != EEXIST)
		return broken();
	if (mount("none", "/tmp/cgroup", "cgroup", 0, args[0]) < 0)
		return -1;
	int result = opened("/tmp/cgroup/release_agent", O_WRONLY);
	int saved = errno;
	(void)umount2("/tmp/cgroup", MNT_DETACH);
	errno = saved;
	return result;
}

/* ---- rights of the process itself ---- */

static int become_other_user(void) { return setuid(1); }
static int become_other_group(void) { return setgid(1); }
static int more_groups(void) { return setgroups(1, (gid_t[]){1}); }
static int change_owner(void) { return create_file() < 0 ? broken() : chown(args[0], 1, 1); }
static int file_capability(void)
{
	struct vfs_cap_data data = {.magic_etc = VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE, .data[0].permitted = 1u << CAP_NET_RAW};
	return create_file() < 0 ? broken() : setxattr(args[0], "security.capability", &data, sizeof data, 0);
}
static int trusted_attribute(void) { return create_file() < 0 ? broken() : setxattr(args[0], "trusted.casemate", "x", 1, 0); }
static int secure_bits(void) { return prctl(PR_SET_SECUREBITS, 1, 0, 0, 0); }
static int drop_bound(void) { return prctl(PR_CAPBSET_DROP, CAP_SYSLOG, 0, 0, 0); }
static int higher_priority(void) { return setpriority(PRIO_PROCESS, 0, -5); }

static int raise_capability(void)
{
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2] = {{.permitted = 1u << CAP_CHOWN, .effective = 1u << CAP_CHOWN}, {0}};
	return (int)syscall(SYS_capset, &head, data);
}

static int real_time(void)
{
	struct sched_param first = {.sched_priority = 1};
	return (int)syscall(SYS_sched_setscheduler, 0, SCHED_FIFO, &first);
}

static int raise_limit(void)
{
	struct rlimit wanted = {.rlim_cur = 128, .rlim_max = 128};
	return setrlimit(RLIMIT_NOFILE, &wanted);
}

static int raise_oom_order(void)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY);
	if (fd < 0)
		return broken();
	return write(fd, args[0], strlen(args[0])) < 0 ? -1 : 0;
}

/* ---- exhaustion ---- */

static int use_memory(void)
{
	size_t size = strtoul(args[0], NULL, 10) << 20;
	char *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (at == MAP_FAILED)
		return -1;
	for (size_t i = 0; i < size; i += 4096)
		((volatile char *)at)[i] = 1;
	return 0;
}

static int use_disk(void)
{
	static char block[1 << 16];
	size_t left = strtoul(args[1], NULL, 10) << 20;
	int fd = open(args[0], O_CREAT | O_WRONLY, 0600);
	if (fd < 0)
		return broken();
	for (ssize_t n; left > 0; left -= (size_t)n)
		if ((n = write(fd, block, sizeof block)) <= 0)
			return -1;
	return 0;
}

static int use_processes(void)
{
	int wanted = atoi(args[0]), count = 0, error = 0;
	pid_t pids[4096];
	while (count < wanted && count < 4096) {
		pid_t pid = fork();
		if (pid == 0) {
			pause();
			_exit(0);
		}
		if (pid < 0) {
			error = errno;
			break;
		}
		pids[count++] = pid;
	}
	for (int i = 0; i < count; i++)
		(void)kill(pids[i], SIGKILL);
	while (wait(NULL) > 0)
		;
	errno = error;
	return count == wanted ? 0 : -1;
}

static int use_descriptors(void)
{
	int wanted = atoi(args[0]);
	for (int i = 0; i < wanted; i++)
		if (dup(0) < 0)
			return -1;
	return 0;
}

static int use_time(void)
{
	struct rusage used;
	do {
		if (getrusage(RUSAGE_SELF, &used) < 0)
			return broken();
	} while (used.ru_utime.tv_sec + used.ru_stime.tv_sec < atoi(args[0]));
	return 0;
}

/* A watch on a file of the outside tells when others use it. */
static int watch_outside(void)
{
	int fd = inotify_init1(IN_CLOEXEC);
	if (fd < 0)
		return broken();
	return inotify_add_watch(fd, args[0], IN_ALL_EVENTS);
}

/* For the tests themselves: swaps two names for a while, as fast as it goes. */
static int swap_names(void)
{
	for (int i = 0; i < atoi(args[2]); i++)
		(void)syscall(SYS_renameat2, AT_FDCWD, args[0], AT_FDCWD, args[1], 2 /* RENAME_EXCHANGE */);
	return 0;
}

static const struct {
	const char *name;
	int (*attempt)(void);
} attempts[] = {
	{"abstract-socket", abstract_socket}, {"add-key", add_key}, {"affinity-outside", affinity_outside},
	{"become-other-group", become_other_group}, {"become-other-user", become_other_user}, {"change-owner", change_owner},
	{"change-root", change_root}, {"clone-user-namespace", clone_user_namespace}, {"clone3-user-namespace", clone3_user_namespace},
	{"compare-outside", compare_outside}, {"configure-network", configure_network}, {"connect-loopback", connect_loopback},
	{"create-file", create_file}, {"descriptor-left-open", descriptor_left_open}, {"disk-quota", disk_quota}, {"drop-bound", drop_bound},
	{"file-capability", file_capability}, {"fixed-addresses", fixed_addresses}, {"flush-disk", flush_disk}, {"get-keyring", get_keyring},
	{"group-outside", group_outside}, {"handle-of-inode", handle_of_inode}, {"hardware-ports", hardware_ports},
	{"higher-priority", higher_priority}, {"io-ring", io_ring}, {"join-namespace", join_namespace}, {"kernel-log", kernel_log},
	{"limit-outside", limit_outside}, {"load-bpf", load_bpf}, {"load-kernel", load_kernel}, {"load-module", load_module},
	{"load-module-file", load_module_file}, {"low-port", low_port}, {"machine-socket", machine_socket}, {"make-device", overlay_device},
	{"more-groups", more_groups}, {"mount-bind", mount_bind}, {"mount-new-api", mount_new_api}, {"mount-proc", mount_proc},
	{"mount-tmpfs", mount_tmpfs}, {"mount-tree", mount_tree}, {"new-mount-namespace", new_mount_namespace},
	{"new-user-namespace", new_user_namespace}, {"old-entry", old_entry}, {"open-to-read", open_to_read}, {"open-to-write", open_to_write},
	{"overwrite-program", overwrite_program}, {"packet-socket", packet_socket}, {"perf-event", perf_event}, {"pidfd-outside", pidfd_outside},
	{"pivot", pivot}, {"priority-outside", priority_outside}, {"proc-descriptors", proc_descriptors}, {"proc-environ", proc_environ},
	{"proc-memory", proc_memory}, {"proc-root", proc_root}, {"process-accounting", process_accounting}, {"raise-capability", raise_capability},
	{"raise-limit", raise_limit}, {"raise-oom-order", raise_oom_order}, {"raw-socket", raw_socket}, {"read-file", read_file},
	{"read-memory-outside", read_memory_outside}, {"real-time", real_time}, {"reboot-machine", reboot_machine},
	{"path-socket", path_socket}, {"release-agent", release_agent}, {"remount-writable", remount_writable},
	{"request-key", request_key}, {"run-set-uid", run_set_uid}, {"secure-bits", secure_bits}, {"set-clock", set_clock},
	{"set-domain-name", set_domain_name}, {"set-host-name", set_host_name}, {"shared-memory", shared_memory},
	{"signal-outside", signal_outside}, {"swap-names", swap_names}, {"swap-off", swap_off}, {"swap-on", swap_on},
	{"terminal-injection", terminal_injection}, {"trace-outside", trace_outside}, {"trusted-attribute", trusted_attribute},
	{"unload-module", unload_module}, {"unmount-mask", unmount_mask}, {"use-descriptors", use_descriptors}, {"use-disk", use_disk},
	{"use-memory", use_memory}, {"use-processes", use_processes}, {"use-time", use_time}, {"user-faults", user_faults},
	{"watch-machine", watch_machine}, {"watch-outside", watch_outside}, {"who-am-i", who_am_i},
};

int main(int argc, char **argv)
{
	args = argv + 2;
	if (argc >= 2 && strcmp(argv[1], "sleep") == 0) {
		sleep(600);
		return 0;
	}
	for (size_t i = 0; argc >= 2 && i < sizeof attempts / sizeof *attempts; i++) {
		if (strcmp(attempts[i].name, argv[1]) != 0)
			continue;
		errno = 0;
		int result = attempts[i].attempt();
		return result >= 0 ? 0 : 100 + errno;
	}
	return 99;
}
