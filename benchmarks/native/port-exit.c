/*
 * The bare cost of leaving a virtual machine by a port write and going back in: a loop of two instructions at privilege level 3,
 * as a PAL would run. For each line on standard input it makes that many exits and prints the nanoseconds of each on one line.
 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>

#define PAGE 4096u
enum { TSS_AT = 1, CODE_AT = 2, TABLES_AT = 3, PAGES = 8 };

static _Noreturn void fail(const char *what)
{
	perror(what);
	exit(1);
}

static long now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000L + t.tv_nsec;
}

static void entry(unsigned char *memory, uint64_t at, uint64_t value)
{
	memcpy(memory + at, &value, sizeof value);
}

/* One address space whose first pages are the memory itself: the TSS for the supervisor, the code for everybody. */
static void build(unsigned char *memory)
{
	static const unsigned char loop[] = {0xe6, 0x54, 0xeb, 0xfc}; /* again: out %al, $0x54; jmp again */
	memcpy(memory + CODE_AT * PAGE, loop, sizeof loop);
	memory[TSS_AT * PAGE + 0x66] = 0x68;
	memset(memory + TSS_AT * PAGE + 0x68 + 32, 0xff, 1);
	for (uint64_t level = 0; level < 3; level++)
		entry(memory, (TABLES_AT + level) * PAGE, ((TABLES_AT + level + 1) * PAGE) | 7);
	entry(memory, (TABLES_AT + 3) * PAGE + 8 * TSS_AT, TSS_AT * PAGE | 3 | 1ull << 63);
	entry(memory, (TABLES_AT + 3) * PAGE + 8 * CODE_AT, CODE_AT * PAGE | 5);
}

static struct kvm_segment segment(uint16_t selector, uint8_t type, uint8_t is_long)
{
	return (struct kvm_segment){.selector = selector, .type = type, .present = 1, .dpl = 3, .s = 1, .l = is_long,
				    .db = !is_long, .g = 1, .limit = 0xffffffff};
}

int main(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), vm = kvm < 0 ? -1 : ioctl(kvm, KVM_CREATE_VM, 0);
	if (vm < 0)
		fail("/dev/kvm");
	unsigned char *memory = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct kvm_userspace_memory_region region = {.memory_size = PAGES * PAGE, .userspace_addr = (uint64_t)(uintptr_t)memory};
	build(memory);
	if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region))
		fail("KVM_SET_USER_MEMORY_REGION");
	int vcpu = ioctl(vm, KVM_CREATE_VCPU, 0), size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	struct kvm_run *run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	struct kvm_sregs s;
	if (run == MAP_FAILED || ioctl(vcpu, KVM_GET_SREGS, &s))
		fail("KVM_GET_SREGS");
	s.cr0 = 0x80050033, s.cr3 = TABLES_AT * PAGE, s.cr4 = 0x620, s.efer = 0xd00;
	s.cs = segment(0xb, 11, 1);
	s.ds = s.es = s.fs = s.gs = s.ss = segment(0x13, 3, 0);
	s.tr = (struct kvm_segment){.selector = 0x18, .type = 11, .present = 1, .base = TSS_AT * PAGE, .limit = 0x68 + 32};
	struct kvm_regs r = {.rip = CODE_AT * PAGE, .rflags = 0x3002};
	if (ioctl(vcpu, KVM_SET_SREGS, &s) || ioctl(vcpu, KVM_SET_REGS, &r))
		fail("KVM_SET_SREGS");
	int count;
	while (scanf("%d", &count) == 1) {
		for (int i = 0; i < count; i++) {
			long before = now();
			if (ioctl(vcpu, KVM_RUN, 0) || run->exit_reason != KVM_EXIT_IO || run->io.port != 0x54)
				fail("KVM_RUN");
			printf("%ld ", now() - before);
		}
		printf("\n");
		fflush(stdout);
	}
	return 0;
}
