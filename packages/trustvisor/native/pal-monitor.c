/*
 * Runs one PAL as a virtual machine without an operating system: one address space, privilege level 3 from the first instruction,
 * write-xor-execute pages, unmapped pages around the stack, two I/O ports. Whatever else the PAL does ends it.
 *
 * It speaks with the isolate on descriptor 3: frames of a little-endian u32 length and a body whose first byte is the type. See
 * src/kvm-protocol.ts, which has the same list. On descriptor 6 the isolate performs the PAL's services. On descriptor 5, where there is one, the application calls the PAL without the
 * isolate between them (src/lane.ts): nothing but a command and an input, both of which the PAL has to distrust anyway.
 * Intel SDM volume 3, chapters 3 to 6; Documentation/virt/kvm/api.rst.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#define CONTROL 3
#define LANE 5
#define SERVICES 6
#define PAGE 4096u
#define MAX_FRAME (40u << 20)
#define MAX_SECTIONS 16u
#define MAX_ADDRESS (1u << 30) /* one page directory */

/* Memory that the application lends: a file that it has open too, or, where the isolate is elsewhere, memory of our own. */
#define ARENA 4
#define ARENA_SIZE (256u << 20)
#define ARENA_PHYSICAL (2ull << 30)
#define MAX_LENT 16u
#define WINDOW (1ull << 30) /* where it appears to the PAL: a page directory of its own */
#define WINDOW_TABLES ((ARENA_SIZE + MAX_LENT * 2 * PAGE + (1u << 21) - 1) >> 21)

/* Below the PAL, which begins at 4 MiB: our own pages in its address space. */
#define TSS_ADDRESS 0x3f8000u
#define RETURN_ADDRESS 0x3fa000u
#define THREAD_ADDRESS 0x3fc000u
#define LEAST_ADDRESS 0x400000u

#define SERVICE_PORT 0x54u
#define RETURN_PORT 0x55u

enum request { REQUEST_LOAD = 1, REQUEST_RUN = 2, REQUEST_REPLY = 3, REQUEST_WAKE = 4 };
enum answer {
	ANSWER_READY = 1,
	ANSWER_FAILED,
	ANSWER_SERVICE,
	ANSWER_RETURNED,
	ANSWER_FAULT,
	ANSWER_LANE_FAULT,
	ANSWER_WAKE
};
enum { LANE_RETURNED = 0, LANE_FAILED = 1 };
enum fault {
	FAULT_PAGE = 1,
	FAULT_STACK,
	FAULT_ILLEGAL,
	FAULT_DIVIDE,
	FAULT_PRIVILEGED,
	FAULT_TIME,
	FAULT_PORT,
	FAULT_MACHINE,
	FAULT_SERVICE,
	FAULT_OUTPUT
};
enum access { ACCESS_READ = 1, ACCESS_WRITE = 2, ACCESS_EXECUTE = 4 };

struct section {
	uint64_t address;
	uint32_t size, access, content_size;
	const unsigned char *content;
	unsigned char *memory; /* where it lies in ours */
	uint64_t physical;
};

static unsigned char *frame; /* the last one received, with room for its length before it; the sections' contents stay in `image` */
static uint32_t frame_size, frame_at;
static unsigned char *image;
static struct section sections[MAX_SECTIONS];
static uint32_t section_count;
static uint64_t entry, stack_end, stack_start, parameters;
static uint32_t is_marshalled; /* parameters in registers and on the stack, and not two buffers */
static uint32_t input_offset, input_size, output_offset, output_size; /* the buffers within the parameters */
static uint32_t parameter_size;
static unsigned char *arena;
static uint32_t has_arena_file, has_lane;

struct lent {
	uint64_t address, length, at, page_count;
	uint32_t access, has_content;
};
static struct lent lents[MAX_LENT];
static uint32_t lent_count;
static int vcpu = -1;
static struct kvm_run *run;
static uint32_t run_size;
static volatile sig_atomic_t is_late;
static struct kvm_sregs machine_registers;
static unsigned char *thread_page;

/* ---- frames ---- */

static void end(int status)
{
	_exit(status);
}

static void write_all(int to, const void *data, size_t size)
{
	const unsigned char *at = data;
	while (size > 0) {
		ssize_t sent = write(to, at, size);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent <= 0)
			end(70);
		at += sent;
		size -= (size_t)sent;
	}
}

static void read_all(int from, void *data, size_t size)
{
	unsigned char *at = data;
	while (size > 0) {
		ssize_t got = read(from, at, size);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			end(0); /* the isolate is gone, or the application */
		at += got;
		size -= (size_t)got;
	}
}

static unsigned char *out;
static uint32_t out_size;

static void put(const void *data, uint32_t size)
{
	if (size > MAX_FRAME - out_size)
		end(71);
	if (size)
		memcpy(out + out_size, data, size);
	out_size += size;
}
static void put_u8(uint8_t value)
{
	put(&value, 1);
}
static void put_u32(uint32_t value)
{
	put(&value, 4);
}
static void put_u64(uint64_t value)
{
	put(&value, 8);
}

static void begin(enum answer type)
{
	out_size = 4;
	put_u8((uint8_t)type);
}

static void send_to(int to)
{
	uint32_t body = out_size - 4;
	memcpy(out, &body, 4);
	write_all(to, out, out_size);
}

static void send_frame(void)
{
	send_to(CONTROL);
}

static _Noreturn void fail(const char *what)
{
	int error = errno;
	begin(ANSWER_FAILED);
	put_u32((uint32_t)error);
	put(what, (uint32_t)strlen(what));
	send_frame();
	end(1);
	__builtin_unreachable();
}

static unsigned char *new_frame(void)
{
	unsigned char *at = mmap(NULL, PAGE + MAX_FRAME, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	return at == MAP_FAILED ? NULL : at + PAGE;
}

static void receive_from(int from)
{
	read_all(from, &frame_size, 4);
	if (frame_size == 0 || frame_size > MAX_FRAME)
		end(72);
	read_all(from, frame, frame_size);
	frame_at = 0;
}

static void receive(void)
{
	receive_from(CONTROL);
}

/* The one frame that answers ours: mostly with one read. */
static void receive_reply(void)
{
	unsigned char *reply = frame - 4;
	ssize_t got;
	while ((got = read(SERVICES, reply, 4 + MAX_FRAME)) < 0 && errno == EINTR)
		continue;
	if (got < 4) {
		if (got <= 0)
			end(0); /* the isolate is gone */
		read_all(SERVICES, reply + got, 4 - (size_t)got);
		got = 4;
	}
	memcpy(&frame_size, reply, 4);
	if (frame_size == 0 || frame_size > MAX_FRAME || (size_t)got > 4 + (size_t)frame_size)
		end(72);
	read_all(SERVICES, reply + got, 4 + (size_t)frame_size - (size_t)got);
	frame_at = 0;
}

static const unsigned char *take(uint32_t size)
{
	if (size > frame_size - frame_at)
		end(73);
	const unsigned char *at = frame + frame_at;
	frame_at += size;
	return at;
}
static uint8_t take_u8(void)
{
	return *take(1);
}
static uint32_t take_u32(void)
{
	uint32_t value;
	memcpy(&value, take(4), 4);
	return value;
}
static uint64_t take_u64(void)
{
	uint64_t value;
	memcpy(&value, take(8), 8);
	return value;
}

/* ---- the PAL's memory as the PAL sees it ---- */

/* What lies at `address`, if `size` bytes from there are in one section with that access. */
static unsigned char *memory_at(uint64_t address, uint64_t size, uint32_t access)
{
	for (uint32_t i = 0; i < section_count; i++) {
		struct section *s = &sections[i];
		if (address < s->address || address - s->address > s->size || size > s->size - (address - s->address))
			continue;
		return (s->access & access) == access ? s->memory + (address - s->address) : NULL;
	}
	for (uint32_t i = 0; i < lent_count; i++) {
		const struct lent *l = &lents[i];
		if (address < l->address || address - l->address > l->length || size > l->length - (address - l->address))
			continue;
		uint32_t allowed = ACCESS_READ | (l->access & ACCESS_WRITE);
		return (allowed & access) == access ? arena + l->at + (address - l->address) : NULL;
	}
	return NULL;
}

static void fill_sections(void)
{
	for (uint32_t i = 0; i < section_count; i++) {
		struct section *s = &sections[i];
		if (s->content_size)
			memcpy(s->memory, s->content, s->content_size);
		memset(s->memory + s->content_size, 0, s->size - s->content_size);
	}
}

/* ---- the machine ---- */

/* C libraries do not agree on the type of a request's number. */
static int request(int fd, unsigned long number, void *argument)
{
	return (int)syscall(SYS_ioctl, fd, number, argument);
}

#define PRESENT 1ull
#define WRITABLE 2ull
#define USER 4ull
#define NO_EXECUTE (1ull << 63)

static unsigned char *physical;
static uint64_t physical_size, directory_at, window_at;

static void set_page(uint64_t address, uint64_t value)
{
	uint64_t tables = address < WINDOW ? directory_at + 3 * PAGE : window_at + PAGE;
	uint64_t table = tables + PAGE * ((address & (WINDOW - 1)) >> 21);
	memcpy(physical + table + 8 * ((address >> 12) & 511), &value, 8);
}

static void map_page(uint64_t address, uint64_t target, uint64_t bits)
{
	set_page(address, target | bits | PRESENT);
}

static void build_tables(uint32_t tables)
{
	uint64_t above = PRESENT | WRITABLE | USER, value;
	value = (directory_at + PAGE) | above;
	memcpy(physical + directory_at, &value, 8);
	value = (directory_at + 2 * PAGE) | above;
	memcpy(physical + directory_at + PAGE, &value, 8);
	for (uint32_t i = 0; i < tables; i++) {
		value = (directory_at + PAGE * (3ull + i)) | above;
		memcpy(physical + directory_at + 2 * PAGE + 8 * i, &value, 8);
	}
	value = window_at | above;
	memcpy(physical + directory_at + PAGE + 8, &value, 8);
	for (uint32_t i = 0; i < WINDOW_TABLES; i++) {
		value = (window_at + PAGE * (1ull + i)) | above;
		memcpy(physical + window_at + 8 * i, &value, 8);
	}
	for (uint32_t i = 0; i < section_count; i++) {
		const struct section *s = &sections[i];
		uint64_t bits =
			USER | (s->access & ACCESS_WRITE ? WRITABLE : 0) | (s->access & ACCESS_EXECUTE ? 0 : NO_EXECUTE);
		for (uint64_t at = 0; at < s->size; at += PAGE)
			map_page(s->address + at, s->physical + at, bits);
	}
}

/* The TSS only says which ports may be used: two. Intel SDM volume 1, section 19.5.2. */
static void build_own_pages(void)
{
	unsigned char *tss = physical + PAGE, *back = physical + 2 * PAGE;
	uint16_t map_base = 0x68;
	memcpy(tss + 0x66, &map_base, 2);
	memset(tss + map_base, 0xff, 33);
	tss[map_base + SERVICE_PORT / 8] &= (unsigned char)~(1u << SERVICE_PORT % 8);
	tss[map_base + RETURN_PORT / 8] &= (unsigned char)~(1u << RETURN_PORT % 8);
	map_page(TSS_ADDRESS, PAGE, NO_EXECUTE);
	static const unsigned char leave[] = {0xe6, RETURN_PORT, 0x0f, 0x0b}; /* out %al, port; ud2 */
	memcpy(back, leave, sizeof leave);
	map_page(RETURN_ADDRESS, 2 * PAGE, USER);
	thread_page = physical + 3 * PAGE;
	map_page(THREAD_ADDRESS, 3 * PAGE, USER | WRITABLE | NO_EXECUTE);
}

static struct kvm_segment segment(uint16_t selector, uint8_t type, uint8_t is_long)
{
	return (struct kvm_segment){.selector = selector,
				    .type = type,
				    .present = 1,
				    .dpl = 3,
				    .s = 1,
				    .l = is_long,
				    .db = !is_long,
				    .g = 1,
				    .limit = 0xffffffff};
}

static int reset_floating_point(void)
{
	struct kvm_fpu fpu = {.fcw = 0x37f, .mxcsr = 0x1f80};
	return request(vcpu, KVM_SET_FPU, &fpu);
}

static void set_registers(int kvm)
{
	if (request(vcpu, KVM_GET_SREGS, &machine_registers))
		fail("KVM_GET_SREGS");
	struct kvm_sregs *s = &machine_registers;
	s->cr0 = 0x80050033;
	s->cr3 = directory_at;
	s->cr4 = 0x620;
	s->efer = 0xd00;
	s->cs = segment(0xb, 11, 1);
	s->ds = s->es = s->fs = s->gs = s->ss = segment(0x13, 3, 0);
	s->fs.base = THREAD_ADDRESS;
	s->tr = (struct kvm_segment){.selector = 0x18, .type = 11, .present = 1, .base = TSS_ADDRESS, .limit = 0x68 + 32};
	if (request(vcpu, KVM_SET_SREGS, s))
		fail("KVM_SET_SREGS");
	if (reset_floating_point())
		fail("KVM_SET_FPU");
	/* No extended state is switched on, so none is announced: code that asks the processor falls back to SSE. */
	struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entries[100];
	} id = {.head.nent = 100};
	if (request(kvm, KVM_GET_SUPPORTED_CPUID, &id))
		fail("KVM_GET_SUPPORTED_CPUID");
	for (uint32_t i = 0; i < id.head.nent; i++) {
		struct kvm_cpuid_entry2 *e = &id.entries[i];
		if (e->function == 1)
			e->ecx &= ~(1u << 12 | 1u << 26 | 1u << 27 | 1u << 28 | 1u << 29); /* FMA XSAVE OSXSAVE AVX F16C */
		if (e->function == 7)
			e->ebx &= 0x00280109u, e->ecx = 0, e->edx = 0; /* what needs no AVX */
		if (e->function == 13)
			e->eax = e->ebx = e->ecx = e->edx = 0;
	}
	if (request(vcpu, KVM_SET_CPUID2, &id))
		fail("KVM_SET_CPUID2");
}

static void make_machine(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm < 0)
		fail("open /dev/kvm");
	if (request(kvm, KVM_GET_API_VERSION, NULL) != 12)
		fail("KVM_GET_API_VERSION");
	int vm = request(kvm, KVM_CREATE_VM, NULL);
	if (vm < 0)
		fail("KVM_CREATE_VM");
	int file = has_arena_file ? ARENA : -1;
	arena = mmap(NULL, ARENA_SIZE, PROT_READ | PROT_WRITE,
		     has_arena_file ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, file, 0);
	if (arena == MAP_FAILED)
		fail("mmap of what can be lent");
	madvise(arena, ARENA_SIZE, MADV_DONTDUMP);
	uint64_t highest = LEAST_ADDRESS, at = 4 * PAGE; /* nothing, TSS, way back, thread */
	for (uint32_t i = 0; i < section_count; i++) {
		struct section *s = &sections[i];
		s->physical = at;
		at += s->size;
		if (s->address + s->size > highest)
			highest = s->address + s->size;
	}
	uint32_t tables = (uint32_t)((highest + (1u << 21) - 1) >> 21);
	directory_at = at;
	window_at = at + PAGE * (3ull + tables);
	physical_size = window_at + PAGE * (1ull + WINDOW_TABLES);
	physical = mmap(NULL, physical_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (physical == MAP_FAILED)
		fail("mmap");
	madvise(physical, physical_size, MADV_DONTDUMP);
	mlock(physical, directory_at); /* as far as the limit allows */
	for (uint32_t i = 0; i < section_count; i++)
		sections[i].memory = physical + sections[i].physical;
	fill_sections();
	build_tables(tables);
	build_own_pages();
	struct kvm_userspace_memory_region region = {.memory_size = physical_size,
						     .userspace_addr = (uint64_t)(uintptr_t)physical};
	if (request(vm, KVM_SET_USER_MEMORY_REGION, &region))
		fail("KVM_SET_USER_MEMORY_REGION");
	struct kvm_userspace_memory_region lendable = {.slot = 1,
						       .guest_phys_addr = ARENA_PHYSICAL,
						       .memory_size = ARENA_SIZE,
						       .userspace_addr = (uint64_t)(uintptr_t)arena};
	if (request(vm, KVM_SET_USER_MEMORY_REGION, &lendable))
		fail("KVM_SET_USER_MEMORY_REGION of what can be lent");
	vcpu = request(vm, KVM_CREATE_VCPU, NULL);
	if (vcpu < 0)
		fail("KVM_CREATE_VCPU");
	int size = request(kvm, KVM_GET_VCPU_MMAP_SIZE, NULL);
	if (size < 0)
		fail("KVM_GET_VCPU_MMAP_SIZE");
	run_size = (uint32_t)size;
	run = mmap(NULL, run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	if (run == MAP_FAILED)
		fail("mmap of the vCPU");
	if (!(request(kvm, KVM_CHECK_EXTENSION, (void *)(uintptr_t)KVM_CAP_SYNC_REGS) & KVM_SYNC_X86_REGS))
		fail("KVM_CAP_SYNC_REGS"); /* before Linux 4.17 */
	run->kvm_valid_regs = KVM_SYNC_X86_REGS;
	set_registers(kvm);
	close(kvm);
}

/* ---- loading ---- */

static int is_page(uint64_t value)
{
	return value % PAGE == 0;
}

static void load(void)
{
	entry = take_u64();
	stack_start = take_u64();
	stack_end = take_u64();
	parameters = take_u64();
	parameter_size = take_u32();
	is_marshalled = take_u32();
	input_offset = take_u32();
	input_size = take_u32();
	output_offset = take_u32();
	output_size = take_u32();
	has_arena_file = take_u32();
	has_lane = take_u32();
	section_count = take_u32();
	if (section_count > MAX_SECTIONS)
		end(74);
	for (uint32_t i = 0; i < section_count; i++) {
		struct section *s = &sections[i];
		s->address = take_u64();
		s->size = take_u32();
		s->access = take_u32();
		s->content_size = take_u32();
		s->content = take(s->content_size);
		int is_writable_code = (s->access & ACCESS_WRITE) && (s->access & ACCESS_EXECUTE);
		if (!is_page(s->address) || !is_page(s->size) || s->address < LEAST_ADDRESS || s->content_size > s->size ||
		    is_writable_code)
			end(75);
		if (s->address > MAX_ADDRESS || s->size > MAX_ADDRESS - s->address)
			end(75);
		for (uint32_t k = 0; k < i; k++)
			if (s->address < sections[k].address + sections[k].size &&
			    sections[k].address < s->address + s->size)
				end(76);
	}
	/* The contents are needed again for fresh memory: the frame becomes the image. */
	image = frame;
	frame = new_frame();
	if (!frame)
		fail("mmap");
	if (is_marshalled)
		return;
	if (output_size < 16 || output_offset > parameter_size || output_size > parameter_size - output_offset)
		end(77);
	if (input_size < 16 || input_offset > parameter_size || input_size > parameter_size - input_offset)
		end(77);
}

/* ---- services: the slots of each as in src/service-plan.ts ---- */

enum slot_kind { END, VALUE, INPUT, GIVEN, FILL, OUTPUT, EXACTLY, PERHAPS };
#define MAX_DATA (1u << 20)
#define MAX_SLOTS 4

/* `size`: the largest of INPUT and FILL, the only one of the others. */
struct slot {
	uint32_t kind, size;
};
static const struct slot services[][MAX_SLOTS] = {
	{{END, 0}},
	{{VALUE, 0}, {EXACTLY, 32}},						 /* utpm_pcr_read */
	{{VALUE, 0}, {GIVEN, 32}},						 /* utpm_pcr_extend */
	{{INPUT, MAX_DATA / 2}, {INPUT, 36}, {OUTPUT, 0}},			 /* utpm_seal */
	{{INPUT, MAX_DATA}, {OUTPUT, 0}, {PERHAPS, 32}},			 /* utpm_unseal */
	{{INPUT, 64}, {VALUE, 0}, {OUTPUT, 0}, {OUTPUT, 0}},			 /* utpm_quote */
	{{FILL, 4096}},								 /* utpm_rand */
	{{OUTPUT, 0}},								 /* utpm_id_getpub */
	{{PERHAPS, 8}, {EXACTLY, 8}},						 /* time_elapsed */
	{{INPUT, 4096}},							 /* print */
	{{OUTPUT, 0}},								 /* state_read */
	{{INPUT, MAX_DATA}},							 /* state_write */
	{{VALUE, 0}, {EXACTLY, 24}},						 /* memory_lent */
	{{VALUE, 0}, {EXACTLY, 20}},						 /* tv_pcr_read */
	{{VALUE, 0}, {GIVEN, 20}},						 /* tv_pcr_extend */
	{{INPUT, MAX_DATA / 2}, {INPUT, 43}, {OUTPUT, 0}},			 /* tv_seal */
	{{INPUT, MAX_DATA}, {OUTPUT, 0}, {PERHAPS, 20}},			 /* tv_unseal */
	{{INPUT, 3}, {GIVEN, 20}, {OUTPUT, 0}, {OUTPUT, 0}},			 /* tv_quote */
	{{OUTPUT, 0}},								 /* tv_id_getpub */
	{{EXACTLY, 8}},								 /* counter_read */
	{{EXACTLY, 8}},								 /* counter_increment */
	{{EXACTLY, 4}},								 /* tpmnvram_getsize */
	{{EXACTLY, 32}},							 /* tpmnvram_readall */
	{{GIVEN, 32}},								 /* tpmnvram_writeall */
	{{GIVEN, 80}, {INPUT, MAX_DATA / 2}, {INPUT, 4096}, {OUTPUT, 0}},	 /* seal_data */
	{{INPUT, MAX_DATA}, {INPUT, 4096}, {OUTPUT, 0}, {PERHAPS, 80}},	 /* unseal_data */
};
enum {
	SERVICE_COUNT = sizeof services / sizeof *services,
	PRINT = 9,
	MEMORY_LENT = 12,
	STATUS_BAD_PARAM = 1,
	STATUS_SUCCESS = 0,
	STATUS_SHORT_BUFFER = 5
};

struct target {
	unsigned char *at;
	uint32_t capacity;
	unsigned char *length_at;
};
static struct target targets[MAX_SLOTS];
static uint32_t target_count;
static uint32_t print_count; /* of this run */

/* As a system call takes them: the fourth not in rcx, and a seventh in r12. */
static uint64_t parameter(const struct kvm_regs *r, uint32_t index)
{
	const uint64_t all[] = {r->rdi, r->rsi, r->rdx, r->r10, r->r8, r->r9, r->r12};
	return index < 7 ? all[index] : 0;
}

static int add_input(uint64_t address, uint64_t size, uint32_t most)
{
	const unsigned char *at = size <= most ? memory_at(address, size, ACCESS_READ) : NULL;
	if (!at && size != 0)
		return 0;
	if (size > most)
		return 0;
	put_u32((uint32_t)size);
	put(at, (uint32_t)size);
	return 1;
}

static int add_target(uint64_t address, uint64_t capacity, unsigned char *length_at)
{
	unsigned char *at = memory_at(address, capacity, ACCESS_READ | ACCESS_WRITE);
	if (!at && capacity != 0)
		return 0;
	targets[target_count++] = (struct target){.at = at, .capacity = (uint32_t)capacity, .length_at = length_at};
	return 1;
}

static int add_sized_target(uint64_t address, uint64_t length_address)
{
	unsigned char *length_at = memory_at(length_address, 4, ACCESS_READ | ACCESS_WRITE);
	uint32_t capacity;
	if (!length_at)
		return 0;
	memcpy(&capacity, length_at, 4);
	return add_target(address, capacity, length_at);
}

/* Puts the call into the frame, or tells that a parameter is wrong. */
static int take_parameters(const struct slot slots[MAX_SLOTS], const struct kvm_regs *r)
{
	uint32_t next = 0;
	target_count = 0;
	for (uint32_t i = 0; i < MAX_SLOTS && slots[i].kind != END; i++) {
		uint64_t first = parameter(r, next++);
		uint32_t kind = slots[i].kind, size = slots[i].size;
		put_u8(kind == VALUE || kind == FILL ? 0 : kind == INPUT || kind == GIVEN ? 1 : 2);
		switch (kind) {
		case VALUE:
			put_u32((uint32_t)first);
			break;
		case INPUT:
			if (!add_input(first, parameter(r, next++), size))
				return 0;
			break;
		case GIVEN:
			if (!add_input(first, size, size))
				return 0;
			break;
		case FILL: {
			uint64_t capacity = parameter(r, next++);
			if (capacity > size || !add_target(first, capacity, NULL))
				return 0;
			put_u32((uint32_t)capacity);
			break;
		}
		case OUTPUT:
			if (!add_sized_target(first, parameter(r, next++)))
				return 0;
			break;
		case EXACTLY:
			if (!add_target(first, size, NULL))
				return 0;
			break;
		case PERHAPS:
			if (!add_target(first, first ? size : 0, NULL))
				return 0;
			break;
		}
	}
	return 1;
}

/* All outputs, or, where one does not fit, the lengths alone. */
static uint32_t give_outputs(void)
{
	struct {
		const unsigned char *data;
		uint32_t size;
	} outputs[MAX_SLOTS] = {{0}};
	int is_short = 0;
	for (uint32_t i = 0; i < target_count; i++) {
		outputs[i].size = take_u32();
		outputs[i].data = take(outputs[i].size);
		if (targets[i].length_at && outputs[i].size > targets[i].capacity)
			is_short = 1;
	}
	for (uint32_t i = 0; i < target_count; i++) {
		uint32_t size = outputs[i].size;
		if (targets[i].length_at)
			memcpy(targets[i].length_at, &size, 4);
		if (size > targets[i].capacity)
			size = targets[i].capacity;
		if (!is_short && size)
			memcpy(targets[i].at, outputs[i].data, size);
	}
	return is_short ? STATUS_SHORT_BUFFER : STATUS_SUCCESS;
}

/* Where the memory lies that was lent as reference `index`; nobody else needs to be asked. */
static uint32_t tell_lent(uint32_t index, uint64_t address)
{
	unsigned char *at = memory_at(address, 24, ACCESS_READ | ACCESS_WRITE);
	if (!at || index >= lent_count)
		return STATUS_BAD_PARAM;
	const struct lent *l = &lents[index];
	uint32_t rest[2] = {l->access, 0};
	memcpy(at, &l->address, 8);
	memcpy(at + 8, &l->length, 8);
	memcpy(at + 16, rest, 8);
	return STATUS_SUCCESS;
}

/* Returns whether the PAL goes on. */
static int serve(struct kvm_regs *r)
{
	uint32_t number = (uint32_t)r->rax;
	if (number == 0 || number >= SERVICE_COUNT)
		return 0;
	if (number == MEMORY_LENT) {
		r->rax = tell_lent((uint32_t)r->rdi, r->rsi);
		return 1;
	}
	print_count += number == PRINT;
	begin(ANSWER_SERVICE);
	put_u8((uint8_t)number);
	if (!take_parameters(services[number], r)) {
		r->rax = STATUS_BAD_PARAM;
		return 1;
	}
	send_to(SERVICES);
	receive_reply();
	if (take_u8() != REQUEST_REPLY)
		end(78);
	uint32_t status = take_u32();
	r->rax = status == STATUS_SUCCESS ? give_outputs() : status;
	return 1;
}

/* ---- running ---- */

static void on_alarm(int signal)
{
	(void)signal;
	is_late = 1;
}

/* It repeats: the first may come in the moment before KVM_RUN. */
static void set_timer(uint32_t milliseconds)
{
	is_late = 0;
	struct itimerval timer = {.it_value = {milliseconds / 1000, (long)(milliseconds % 1000) * 1000},
				  .it_interval = {0, milliseconds ? 5000 : 0}};
	setitimer(ITIMER_REAL, &timer, NULL);
}

static enum fault classify(const struct kvm_regs *r, uint64_t address)
{
	if (address)
		return address >= stack_start - PAGE && address < stack_start ? FAULT_STACK : FAULT_PAGE;
	const unsigned char *code = memory_at(r->rip, 2, ACCESS_READ | ACCESS_EXECUTE);
	if (!code)
		return FAULT_PRIVILEGED;
	if (code[0] == 0x0f && code[1] == 0x0b)
		return FAULT_ILLEGAL;
	if (code[0] == 0x66 || (code[0] & 0xf0) == 0x40)
		code++; /* one prefix, as compilers write it */
	if (code[0] == 0xf6 || code[0] == 0xf7)
		return FAULT_DIVIDE;
	return FAULT_PRIVILEGED;
}

static void send_fault(enum answer type, enum fault kind, const struct kvm_regs *r, uint64_t address)
{
	begin(type);
	put_u8((uint8_t)kind);
	put_u64(address);
	put(r, sizeof *r); /* rax rbx rcx rdx rsi rdi rsp rbp r8…r15 rip rflags */
	send_frame();
}

/* They pass in memory that the kernel reads at the next KVM_RUN and writes at the next exit: two requests less for each exit. */
static void put_registers(const struct kvm_regs *r)
{
	run->s.regs.regs = *r;
	run->kvm_dirty_regs = KVM_SYNC_X86_REGS;
}

static enum fault run_until_end(struct kvm_regs *r, uint64_t *address)
{
	for (;;) {
		if (is_late)
			return FAULT_TIME;
		int result = request(vcpu, KVM_RUN, NULL);
		*r = run->s.regs.regs;
		if (result < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (result < 0)
			return FAULT_MACHINE;
		if (run->exit_reason == KVM_EXIT_IO && run->io.direction == KVM_EXIT_IO_OUT && run->io.port == RETURN_PORT)
			return 0;
		if (run->exit_reason == KVM_EXIT_IO && run->io.direction == KVM_EXIT_IO_OUT &&
		    run->io.port == SERVICE_PORT) {
			if (!serve(r))
				return FAULT_SERVICE;
			put_registers(r);
			continue;
		}
		if (run->exit_reason == KVM_EXIT_IO)
			return FAULT_PORT;
		if (run->exit_reason != KVM_EXIT_SHUTDOWN)
			return FAULT_MACHINE;
		struct kvm_sregs now;
		*address = request(vcpu, KVM_GET_SREGS, &now) ? 0 : now.cr2;
		return classify(r, *address);
	}
}

/*
 * Nothing of a run that broke off is left in registers. After one that returned, the general ones are new, and the others as that run
 * left them, which is as the ABI says, or the PAL's own fault: setting them costs more than half of what leaving the machine does. It
 * cannot have changed the system's registers, but for its own data segments, because there is no descriptor table.
 */
static void prepare(const struct kvm_regs *start, int is_fresh)
{
	if (is_fresh && (request(vcpu, KVM_SET_SREGS, &machine_registers) || reset_floating_point()))
		end(79);
	put_registers(start);
}

/*
 * The pages of what is lent for this run appear in the PAL's address space, with a page between one reference and the next. Never
 * executable; what is lent for reading cannot be written. The isolate has checked the ranges: a wrong one is not gone on with.
 */
static void lend(void)
{
	uint64_t at = WINDOW;
	uint32_t count = take_u32();
	if (count > MAX_LENT)
		end(84);
	for (uint32_t i = 0; i < count; i++) {
		struct lent *l = &lents[i];
		l->access = take_u32();
		l->at = take_u64();
		l->length = take_u64();
		l->has_content = take_u32();
		if (l->length == 0 || l->at > ARENA_SIZE || l->length > ARENA_SIZE - l->at || l->has_content == has_arena_file)
			end(85);
		uint64_t first = l->at & ~(uint64_t)(PAGE - 1);
		l->page_count = (l->at + l->length - first + PAGE - 1) / PAGE;
		if (l->page_count + 1 > (WINDOW + ((uint64_t)WINDOW_TABLES << 21) - at) / PAGE)
			end(86);
		l->address = at + (l->at - first);
		uint64_t bits = USER | NO_EXECUTE | (l->access & ACCESS_WRITE ? WRITABLE : 0);
		for (uint64_t page = 0; page < l->page_count; page++)
			map_page(at + page * PAGE, ARENA_PHYSICAL + first + page * PAGE, bits);
		at += (l->page_count + 1) * PAGE;
		if (l->has_content) {
			uint32_t size = take_u32();
			if (size != l->length)
				end(87);
			memcpy(arena + l->at, take(size), size);
		}
		lent_count = i + 1;
	}
}

/*
 * Takes it back. The processor, or a host that keeps page tables of its own for the guest, may remember what our tables said:
 * dropping the pages from our own address space makes the host forget it (MMU notifier), whichever way it maps a guest. Memory of our
 * own is zero after that; the file is as the PAL left it.
 */
static void take_back(void)
{
	for (uint32_t i = 0; i < lent_count; i++) {
		const struct lent *l = &lents[i];
		uint64_t address = l->address & ~(uint64_t)(PAGE - 1), first = l->at & ~(uint64_t)(PAGE - 1);
		for (uint64_t page = 0; page < l->page_count; page++)
			set_page(address + page * PAGE, 0);
		if (madvise(arena + first, l->page_count * PAGE, MADV_DONTNEED))
			end(88);
	}
	lent_count = 0;
}

/* What could be written, where it did not come from the file. */
static void put_written(void)
{
	uint32_t count = 0, count_at = out_size;
	put_u32(0);
	for (uint32_t i = 0; i < lent_count; i++) {
		const struct lent *l = &lents[i];
		if (!l->has_content || !(l->access & ACCESS_WRITE))
			continue;
		put_u32((uint32_t)l->length);
		put(arena + l->at, (uint32_t)l->length);
		count++;
	}
	memcpy(out + count_at, &count, 4);
}

static void put_word(unsigned char *area, uint32_t offset, uint32_t value)
{
	memcpy(area + offset, &value, 4);
}

/* tzi_encode_buffer_t of both: return value, size, offset, size used. */
static void set_buffers(unsigned char *area, struct kvm_regs *r, uint32_t command)
{
	uint32_t size = frame_size - frame_at;
	if (size > input_size - 16)
		end(80);
	put_word(area, input_offset + 4, input_size - 16);
	put_word(area, input_offset + 12, size);
	memcpy(area + input_offset + 16, take(size), size);
	put_word(area, output_offset + 4, output_size - 16);
	r->rdi = command;
	r->rsi = parameters + input_offset;
	r->rdx = parameters + output_offset;
	r->rcx = parameters;
}

#define MAX_ARGUMENTS 10u

/* As the System V ABI says: six in registers, the rest on the stack, which is aligned at the call. */
static uint64_t set_arguments(struct kvm_regs *r, const uint64_t arguments[MAX_ARGUMENTS], uint32_t count)
{
	uint64_t *registers[] = {(uint64_t *)&r->rdi, (uint64_t *)&r->rsi, (uint64_t *)&r->rdx,
				 (uint64_t *)&r->rcx, (uint64_t *)&r->r8,  (uint64_t *)&r->r9};
	uint32_t on_stack = count > 6 ? count - 6 : 0;
	uint64_t top = (stack_end - 8ull * on_stack) & ~15ull;
	for (uint32_t i = 0; i < count && i < 6; i++)
		*registers[i] = arguments[i];
	if (on_stack == 0)
		return top;
	unsigned char *stack = memory_at(top, 8ull * on_stack, ACCESS_READ | ACCESS_WRITE);
	if (!stack)
		end(81);
	memcpy(stack, arguments + 6, 8ull * on_stack);
	return top;
}

/* One call of the entry, wherever it came from. */
struct call {
	uint32_t limit, is_fresh, command, count;
	uint64_t arguments[MAX_ARGUMENTS];
};

/* A run that did not return leaves memory that is not gone on with. */
static int is_stale;
static unsigned char *area; /* the parameters */
static uint32_t output_used; /* bytes behind the header of the output buffer, which fit */

/* Runs it on what is left of the frame, the input or the parameters. */
static enum fault perform(const struct call *call, struct kvm_regs *r, uint64_t *address)
{
	int is_fresh = call->is_fresh || is_stale;
	is_stale = 1;
	print_count = 0;
	if (is_fresh)
		fill_sections();
	*r = (struct kvm_regs){.rip = entry, .rflags = 0x3002};
	*address = 0;
	area = memory_at(parameters, parameter_size, ACCESS_READ | ACCESS_WRITE);
	if (!area)
		end(81);
	memset(area, 0, parameter_size);
	uint32_t area_size = frame_size - frame_at;
	if (is_marshalled && area_size > parameter_size)
		end(80);
	r->rsp = set_arguments(r, call->arguments, call->count) - 8;
	if (is_marshalled)
		memcpy(area, take(area_size), area_size);
	else
		set_buffers(area, r, call->command);
	unsigned char *stack = memory_at(r->rsp, 8, ACCESS_READ | ACCESS_WRITE);
	if (!stack)
		end(81);
	uint64_t back = RETURN_ADDRESS;
	memcpy(stack, &back, 8);
	prepare(r, is_fresh);
	set_timer(call->limit);
	enum fault fault = run_until_end(r, address);
	set_timer(0);
	if (!fault && !is_marshalled) {
		memcpy(&output_used, area + output_offset + 8, 4);
		if (output_used > output_size - 16) {
			*address = output_used;
			fault = FAULT_OUTPUT;
		}
	}
	if (!fault)
		is_stale = 0;
	return fault;
}

/* The isolate's call. */
static void run_entry(void)
{
	struct call call = {0};
	call.limit = take_u32();
	call.is_fresh = take_u32();
	call.command = take_u32();
	call.count = take_u32();
	if (call.count > MAX_ARGUMENTS)
		end(89);
	for (uint32_t i = 0; i < call.count; i++)
		call.arguments[i] = take_u64();
	lend();
	uint32_t content_size = frame_size - frame_at;
	struct kvm_regs r;
	uint64_t address;
	enum fault fault = perform(&call, &r, &address);
	if (fault) {
		take_back();
		send_fault(ANSWER_FAULT, fault, &r, address);
		return;
	}
	begin(ANSWER_RETURNED);
	put_u64(r.rax);
	put_written();
	if (is_marshalled)
		put(area, content_size);
	else {
		put(area, 4); /* rv */
		put(area + output_offset, 16 + output_used);
	}
	take_back();
	send_frame();
}

/* Who waits for the next service has something else to do first. */
static void wake(void)
{
	begin(ANSWER_WAKE);
	send_to(SERVICES);
}

/*
 * The isolate says what a fault is called, once it has put everything else that belongs to the PAL back to its beginning. It may have
 * asked to wake before it knew of the fault.
 */
static void explain_fault(enum fault fault, const struct kvm_regs *r, uint64_t address)
{
	send_fault(ANSWER_LANE_FAULT, fault, r, address);
	uint8_t type;
	for (receive(); (type = take_u8()) == REQUEST_WAKE; receive())
		wake();
	if (type != REQUEST_REPLY)
		end(78);
	uint32_t size = frame_size - frame_at;
	out_size = 4;
	put_u32(LANE_FAILED);
	put_u32(print_count);
	put(take(size), size);
	send_to(LANE);
}

/* The application's call. */
static void run_from_lane(void)
{
	struct call call = {0};
	struct kvm_regs r;
	uint64_t address;
	if (is_marshalled)
		end(90);
	call.limit = take_u32();
	call.command = take_u32();
	enum fault fault = perform(&call, &r, &address);
	if (fault) {
		explain_fault(fault, &r, address);
		return;
	}
	out_size = 4;
	put_u32(LANE_RETURNED);
	put_u32(print_count);
	put(area, 4);
	put(area + output_offset + 16, output_used);
	send_to(LANE);
}

/* ---- confinement ---- */

#define LOAD(offset) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (offset))
#define ALLOW_CALL(number) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (number), 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define ALLOW_REQUEST(number)                                                                                               \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(number), 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

/* A sanitizer that has found something must be able to say so. */
#ifdef CASEMATE_SANITIZE
#define OTHERWISE SECCOMP_RET_ALLOW
#else
#define OTHERWISE SECCOMP_RET_KILL_PROCESS
#endif

/* From here on: read, write, the timer, giving pages back, and four requests to the vCPU. */
static void confine(void)
{
	struct sock_filter code[] = {
		LOAD(offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, OTHERWISE),
		LOAD(offsetof(struct seccomp_data, nr)),
		ALLOW_CALL(SYS_read),
		ALLOW_CALL(SYS_write),
		ALLOW_CALL(SYS_poll),
		ALLOW_CALL(SYS_rt_sigreturn),
		ALLOW_CALL(SYS_restart_syscall),
		ALLOW_CALL(SYS_setitimer),
		ALLOW_CALL(SYS_exit_group),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_madvise, 0, 4),
		LOAD(offsetof(struct seccomp_data, args[2])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, MADV_DONTNEED, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, OTHERWISE),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, OTHERWISE),
		LOAD(offsetof(struct seccomp_data, args[0])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)vcpu, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, OTHERWISE),
		LOAD(offsetof(struct seccomp_data, args[1])),
		ALLOW_REQUEST(KVM_RUN),
		ALLOW_REQUEST(KVM_GET_SREGS),
		ALLOW_REQUEST(KVM_SET_SREGS),
		ALLOW_REQUEST(KVM_SET_FPU),
		BPF_STMT(BPF_RET | BPF_K, OTHERWISE),
	};
	struct sock_fprog program = {.len = sizeof code / sizeof *code, .filter = code};
	/* Where user namespaces are refused, the filter alone holds: none of its calls reaches a file, a process or a network. */
	(void)!unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNS);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		fail("PR_SET_NO_NEW_PRIVS");
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		fail("PR_SET_SECCOMP");
}

/* Nobody of the same user may look into our memory, and no core dump may hold it. */
static void hide(void)
{
	struct rlimit none = {0, 0};
	if (prctl(PR_SET_DUMPABLE, 0) || setrlimit(RLIMIT_CORE, &none))
		fail("PR_SET_DUMPABLE");
	prctl(PR_SET_PDEATHSIG, SIGKILL);
}

/* Waits for a call. The isolate's goes first. */
static int is_for_lane(void)
{
	if (!has_lane)
		return 0;
	struct pollfd ends[] = {{.fd = CONTROL, .events = POLLIN}, {.fd = LANE, .events = POLLIN}};
	while (poll(ends, 2, -1) < 0)
		if (errno != EINTR)
			end(91);
	return !ends[0].revents;
}

int main(void)
{
	frame = new_frame();
	out = new_frame();
	if (!frame || !out)
		return 69;
	hide();
	struct sigaction action = {.sa_handler = on_alarm};
	sigaction(SIGALRM, &action, NULL);
	receive();
	if (take_u8() != REQUEST_LOAD)
		return 82;
	load();
	make_machine();
	/* Code compiled with a stack protector reads its canary from here. */
	if (getrandom(thread_page + 0x28, 8, 0) != 8)
		fail("getrandom");
	confine();
	begin(ANSWER_READY);
	send_frame();
	for (;;) {
		if (is_for_lane()) {
			receive_from(LANE);
			run_from_lane();
			continue;
		}
		receive();
		switch (take_u8()) {
		case REQUEST_RUN:
			run_entry();
			break;
		case REQUEST_WAKE:
			wake();
			break;
		default:
			end(83);
		}
	}
}
