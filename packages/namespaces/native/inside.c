/* Inside: performs the operations of the plan from the late namespaces to exec. */
#include "launcher.h"

static struct shape done; /* what was done ahead */

static void perform_inside(struct operation *op)
{
	switch ((enum code)op->code) {
	case OP_CGROUP_NAMESPACE: op_cgroup_namespace(); break;
	case OP_TIME_NAMESPACE: op_time_namespace(op); break;
	case OP_PRIVATE_MOUNTS: op_private_mounts(op); break;
	case OP_STAGE: op_stage(); break;
	case OP_BIND: op_bind(op); break;
	case OP_OVERLAY: op_overlay(op); break;
	case OP_MOUNT: op_mount(op); break;
	case OP_MASK: op_mask(op); break;
	case OP_READ_ONLY_PATH: op_read_only_path(op); break;
	case OP_PIVOT_ROOT: op_pivot_root(); break;
	case OP_BECOME: op_become(op); break;
	case OP_DEVICES: op_devices(op); break;
	case OP_FILE: op_file(op); break;
	case OP_NETLINK: op_netlink(op); break;
	case OP_DOMAIN_NAME: op_domain_name(op); break;
	case OP_SYSCTL: op_sysctl(op); break;
	case OP_OWNERS: op_owners(op); break;
	case OP_HOSTNAME: {
		const char *name = take_text(op);
		check(sethostname(name, strlen(name)), name);
		break;
	}
	case OP_LOOPBACK_UP:
		if (!done.loopback)
			check(raise_loopback(), "lo");
		break;
	case OP_RLIMIT: op_rlimit(op); break;
	case OP_NEW_SESSION:
		if (!done.session)
			check(setsid(), "setsid");
		break;
	case OP_UMASK: umask((mode_t)take_u32(op)); break;
	case OP_BOUNDING_SET: op_bounding_set(op); break;
	case OP_GROUPS: op_groups(op); break;
	case OP_IDS: op_ids(op); break;
	case OP_CAPABILITIES: op_capabilities(op); break;
	case OP_SECURE_BITS: op_secure_bits(op); break;
	case OP_SESSION_KEYRING: op_session_keyring(); break;
	case OP_LANDLOCK: op_landlock(op); break;
	case OP_NO_NEW_PRIVILEGES: check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "PR_SET_NO_NEW_PRIVS"); break;
	case OP_CHANGE_DIRECTORY: {
		const char *path = take_text(op);
		/* A link of the root to /proc/self/fd must not lead to what we have open, of which nothing is needed any more. */
		check(syscall(SYS_close_range, (unsigned)report_fd + 1, ~0u, 0), "close_range");
		check(chdir(path), path);
		break;
	}
	case OP_INIT: die_with_parent(); become_init(); break;
	case OP_SECCOMP: op_seccomp(op); break;
	case OP_TERMINAL: op_terminal(op); break;
	case OP_EXEC: op_exec(op); break;
	default: fail(EBADMSG, "plan");
	}
	end_of(op);
}

void enter_inside(int socket)
{
	inside = 1;
	/* Of our descriptors only this one stays, in a known place. */
	report_fd = CONTROL_FD;
	if (dup3(socket, report_fd, O_CLOEXEC) < 0 || syscall(SYS_close_range, (unsigned)report_fd + 1, ~0u, 0) < 0)
		_exit(FAILED_STATUS);
}

/* The operations from the late namespaces on. */
__attribute__((noreturn)) void perform_inside_all(const struct shape *ahead)
{
	done = *ahead;
	unblock_signals(); /* none is handled or ignored: the server saw to that */
	enter_cgroups();
	for (uint32_t i = 0; i < operation_count; i++) {
		struct operation op = operations[i];
		if (op.code < OP_CGROUP_NAMESPACE)
			continue;
		current = progress->operation = i;
		perform_inside(&op);
	}
	fail(EBADMSG, "plan"); /* no exec in it */
}

__attribute__((noreturn)) void run_inside(int socket)
{
	enter_inside(socket);
	receive_slots(report_fd);
	perform_inside_all(&(struct shape){0});
}
