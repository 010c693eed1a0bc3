/*
 * What cgroups need beside files: attaching a device program (v2 has no file for device rules), and waiting for a pressure trigger
 * (which tells by POLLPRI, for which the starter has no poll). Each runs in a process of its own that the server forks.
 */
#include "launcher.h"
#include <linux/bpf.h>

static int sys_bpf(enum bpf_cmd command, union bpf_attr *attr)
{
	return (int)syscall(SYS_bpf, command, attr, sizeof *attr);
}

__attribute__((noreturn)) static void answer(int error, const char *what)
{
	send_event(CONTROL_FD, EVENT_PROBE, (uint32_t)error, 0, what);
	_exit(0);
}

/* The program is the starter's, who could load it too; the kernel's verifier judges it. It stays attached as long as the cgroup is. */
__attribute__((noreturn)) void attach_devices(const unsigned char *body, size_t size)
{
	struct operation fields = {.at = body, .end = body + size};
	const char *path = take_text(&fields);
	uint32_t length;
	const unsigned char *program = take_bytes(&fields, &length);
	end_of(&fields);
	int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		answer(errno, "open");
	union bpf_attr load = {
		.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE,
		.insns = (uint64_t)(uintptr_t)program,
		.insn_cnt = length / sizeof(struct bpf_insn),
		.license = (uint64_t)(uintptr_t) "Apache-2.0",
	};
	int loaded = sys_bpf(BPF_PROG_LOAD, &load);
	if (loaded < 0)
		answer(errno, "load");
	/* Without flags an attached one is replaced, and nested cgroups can attach none that would allow more. */
	union bpf_attr attach = {
		.target_fd = (uint32_t)dir,
		.attach_bpf_fd = (uint32_t)loaded,
		.attach_type = BPF_CGROUP_DEVICE,
	};
	answer(sys_bpf(BPF_PROG_ATTACH, &attach) < 0 ? errno : 0, "attach");
}

/* Tells each time that the trigger fires, until the cgroup is removed or the starter says that it is enough. */
__attribute__((noreturn)) void watch_pressure(const unsigned char *body, size_t size)
{
	struct operation fields = {.at = body, .end = body + size};
	const char *path = take_text(&fields);
	const char *trigger = take_text(&fields);
	end_of(&fields);
	int file = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (file < 0)
		answer(errno, "open");
	if (write(file, trigger, strlen(trigger) + 1) < 0)
		answer(errno, "trigger");
	send_event(CONTROL_FD, EVENT_PROBE, 0, 0, "armed");
	struct pollfd polls[2] = {{.fd = file, .events = POLLPRI}, {.fd = COMMAND_FD, .events = POLLIN}};
	while (poll(polls, 2, -1) >= 0 || errno == EINTR) {
		if (polls[1].revents || (polls[0].revents & POLLERR))
			break;
		if (polls[0].revents & POLLPRI)
			send_event(CONTROL_FD, EVENT_PROBE, 0, 1, "fired");
	}
	_exit(0);
}
