/* The state that the parts share; launcher.h says what each is. */
#include "launcher.h"

struct operation operations[MAX_OPERATIONS];
uint32_t operation_count;
uint32_t current = NO_OPERATION;

uint32_t sandbox_id;
int report_fd = CONTROL_FD;
int inside;
pid_t child = -1;
int child_pidfd = -1;
struct cgroup cgroups[MAX_CGROUPS];
uint32_t cgroup_count;
uint64_t namespaces;

int slots[MAX_SLOTS];
uint32_t slot_count;
int stage_fd = -1;
int root_fd = -1;
int wants_init;
struct progress *progress;
