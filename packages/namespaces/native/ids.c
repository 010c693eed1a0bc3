/* Outside: the id maps of the sandbox, written by us or by newuidmap and newgidmap. */
#include "launcher.h"

/* newuidmap PID INSIDE OUTSIDE COUNT …; it is set-uid root and checks the ranges against /etc/subuid itself. */
static void run_map_helper(const char *helper, char *const argv[])
{
	pid_t pid = fork();
	check(pid, helper);
	if (pid == 0) {
		char *const env[] = {NULL};
		execve(helper, argv, env);
		_exit(127);
	}
	int status;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			fail(errno, helper);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		fail(WIFEXITED(status) && WEXITSTATUS(status) == 127 ? ENOENT : EPERM, helper);
}

void op_id_map(struct operation *op, const char *file)
{
	static char text[340 * 36];
	static char numbers[340 * 3 + 1][12];
	static char *argv[340 * 3 + 3];
	const char *helper = take_text(op);
	uint32_t count = take_u32(op);
	size_t used = 0;
	if (count > 340)
		fail(E2BIG, file);
	snprintf(numbers[0], sizeof numbers[0], "%d", (int)child);
	argv[0] = strdup(helper);
	argv[1] = numbers[0];
	for (uint32_t i = 0; i < count; i++) {
		uint32_t range[3] = {take_u32(op), take_u32(op), take_u32(op)};
		for (uint32_t j = 0; j < 3; j++) {
			char *number = numbers[1 + i * 3 + j];
			snprintf(number, sizeof numbers[0], "%u", range[j]);
			argv[2 + i * 3 + j] = number;
		}
		used += (size_t)snprintf(text + used, sizeof text - used, "%u %u %u\n", range[0], range[1], range[2]);
	}
	argv[2 + count * 3] = NULL;
	if (helper[0])
		run_map_helper(helper, argv);
	else
		write_child_file(file, text);
}
