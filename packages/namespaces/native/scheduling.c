/* Outside: how the sandbox is scheduled, by the caller's own rights: the inside has none over the machine's processors. */
#include "launcher.h"

#define WANTS_NICE 1u
#define WANTS_POLICY 2u
#define WANTS_IO 4u
#define IOPRIO_WHO_PROCESS 1

/* linux/sched/types.h, version 0: what every kernel takes. */
struct attributes {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

void op_scheduling(struct operation *op)
{
	struct attributes attributes = {.size = sizeof attributes};
	uint32_t wants = take_u32(op), nice_value = take_u32(op), io = take_u32(op);
	attributes.policy = take_u32(op);
	attributes.flags = take_u64(op);
	attributes.priority = take_u32(op);
	attributes.nice = (int32_t)nice_value;
	attributes.runtime = take_u64(op);
	attributes.deadline = take_u64(op);
	attributes.period = take_u64(op);
	uint32_t size;
	const unsigned char *processors = take_bytes(op, &size);
	if (size > 0)
		check(syscall(SYS_sched_setaffinity, child, size, processors), "sched_setaffinity");
	if (wants & WANTS_POLICY)
		check(syscall(SYS_sched_setattr, child, &attributes, 0), "sched_setattr");
	else if (wants & WANTS_NICE)
		check(setpriority(PRIO_PROCESS, (id_t)child, (int)nice_value), "setpriority");
	if (wants & WANTS_IO)
		check(syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, child, io), "ioprio_set");
}

/* Inside, root over a user namespace may not raise a hard limit; outside the caller may, if it has the capability. */
void raise_hard_limit(struct operation *op)
{
	unsigned resource = take_u32(op);
	(void)take_u64(op);
	uint64_t hard = take_u64(op);
	struct {
		uint64_t soft, hard;
	} limit;
	if (syscall(SYS_prlimit64, child, resource, NULL, &limit) < 0 || hard <= limit.hard)
		return; /* what is wrong with it the inside will tell */
	limit.hard = hard;
	(void)syscall(SYS_prlimit64, child, resource, &limit, NULL);
}
