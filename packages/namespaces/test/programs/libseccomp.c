/*
 * What libseccomp makes of profiles, for comparison. Lines on standard input:
 *   n ARCH NAME                          prints the number of a call, or - if it has none
 *   p DEFAULT BAD_ARCH ARCH...           starts a profile (actions as the kernel's return values)
 *   r ACTION NAME [INDEX OP A B]...      adds a rule; prints 0 or a negative error number
 *   e                                    ends the profile; prints its program in hexadecimal
 */
#define _GNU_SOURCE
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static scmp_filter_ctx context;

static void number(char *words)
{
	uint32_t arch = seccomp_arch_resolve_name(strtok_r(words, " \n", &words));
	int nr = seccomp_syscall_resolve_name_arch(arch, strtok_r(words, " \n", &words));
	if (nr < 0)
		puts("-");
	else
		printf("%d\n", nr);
}

static void start(char *words)
{
	uint32_t action = (uint32_t)strtoul(words, &words, 0);
	uint32_t bad = (uint32_t)strtoul(words, &words, 0);
	context = seccomp_init(action);
	int has_native = 0;
	if (seccomp_attr_set(context, SCMP_FLTATR_ACT_BADARCH, bad) < 0)
		exit(3);
	for (char *name; (name = strtok_r(words, " \n", &words));) {
		uint32_t arch = seccomp_arch_resolve_name(name);
		has_native |= arch == seccomp_arch_native();
		if (arch == 0)
			exit(4);
		if (!has_native && seccomp_arch_exist(context, seccomp_arch_native()) == 0)
			(void)seccomp_arch_remove(context, seccomp_arch_native());
		(void)seccomp_arch_add(context, arch);
	}
}

static void rule(char *words)
{
	struct scmp_arg_cmp args[6];
	unsigned count = 0;
	uint32_t action = (uint32_t)strtoul(words, &words, 0);
	char *name = strtok_r(words, " \n", &words);
	for (char *word; count < 6 && (word = strtok_r(words, " \n", &words)); count++) {
		args[count].arg = (unsigned)strtoul(word, NULL, 0);
		args[count].op = (enum scmp_compare)strtoul(strtok_r(words, " \n", &words), NULL, 0);
		args[count].datum_a = strtoull(strtok_r(words, " \n", &words), NULL, 0);
		args[count].datum_b = strtoull(strtok_r(words, " \n", &words), NULL, 0);
	}
	int nr = seccomp_syscall_resolve_name(name);
	printf("%d\n", nr == __NR_SCMP_ERROR ? -1000 : seccomp_rule_add_array(context, action, nr, count, args));
}

static void end(void)
{
	int file = memfd_create("program", 0);
	int failed = seccomp_export_bpf(context, file);
	if (failed < 0) {
		printf("! %d\n", failed);
	} else {
		unsigned char byte;
		lseek(file, 0, SEEK_SET);
		FILE *program = fdopen(dup(file), "r");
		while (fread(&byte, 1, 1, program) == 1)
			printf("%02x", byte);
		fclose(program);
		putchar('\n');
	}
	close(file);
	seccomp_release(context);
}

int main(void)
{
	static char line[65536];
	while (fgets(line, sizeof line, stdin)) {
		switch (line[0]) {
		case 'n': number(line + 1); break;
		case 'p': start(line + 1); break;
		case 'r': rule(line + 1); break;
		case 'e': end(); break;
		default: return 2;
		}
	}
	return 0;
}
