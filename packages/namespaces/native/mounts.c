/* Inside: the mounts of the sandbox, from the staging area to pivot_root. */
#include "launcher.h"

#define FIRM (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC)

static uint64_t root_propagation;
static int all_private = 1; /* every mount that we can make or copy is, until one is told otherwise */

static uint64_t own_mounts[16]; /* of file systems that nobody but us can reach yet, so that nobody moves anything in them */
static uint32_t own_count;

/* What an opened file is. */
struct place {
	int fd;
	uint64_t mount; /* the kernel's number of the mount that it is on */
	int is_directory;
};

/* statx(2) with stx_mnt_id, for C libraries that do not know it. */
static struct place look_at(int fd, const char *what)
{
	enum { TYPE = 1, MNT_ID = 0x1000, MODE_OFFSET = 0x1c, MNT_ID_OFFSET = 0x90 };
	unsigned char info[256] = {0};
	struct place place = {.fd = fd};
	uint16_t mode;
	check(syscall(SYS_statx, fd, "", AT_EMPTY_PATH, TYPE | MNT_ID, info), what);
	memcpy(&place.mount, info + MNT_ID_OFFSET, sizeof place.mount);
	memcpy(&mode, info + MODE_OFFSET, sizeof mode);
	place.is_directory = S_ISDIR(mode);
	return place;
}

static int is_own(uint64_t mount)
{
	for (uint32_t i = 0; i < own_count; i++)
		if (own_mounts[i] == mount)
			return 1;
	return 0;
}

static uint64_t mount_id(int fd, const char *what)
{
	return look_at(fd, what).mount;
}

/*
 * Lays a mount over an opened place, and makes sure that the path leads to it: the place may have been moved away meanwhile, unless it
 * is in a file system of our own, through which the path has just led.
 */
static void cover(int mount, const struct place *place, const char *path)
{
	check(sys_move_mount(mount, place->fd), path);
	close(place->fd);
	if (is_own(place->mount))
		return;
	int now = open_inside(path, O_PATH);
	check(now, path);
	if (mount_id(now, path) != mount_id(mount, path))
		fail(ESTALE, path);
	close(now);
}

/* A mount on a shared one becomes shared itself, so this comes last. Of two kinds, slave is set before shared. */
static void set_propagation(int mount, uint64_t wanted, int recursive, const char *what)
{
	if (wanted == MS_PRIVATE && all_private)
		return;
	all_private = 0;
	static const uint64_t kinds[] = {MS_PRIVATE, MS_SLAVE, MS_UNBINDABLE, MS_SHARED};
	for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		struct mount_attr attr = {.propagation = kinds[i]};
		if (wanted & kinds[i])
			check(sys_mount_setattr(mount, "", (unsigned)AT_EMPTY_PATH | (recursive ? AT_RECURSIVE_TREE : 0u), &attr), what);
	}
}

/* On top of whatever lies over "/" already. Our own root stays what it was, so absolute paths still mean the outside. */
static void lay_over_root(int mount, const char *what)
{
	int top = openat(AT_FDCWD, "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	check(top, what);
	check(sys_move_mount(mount, top), what);
	close(top);
}

static void become_root(int mount, const char *what)
{
	lay_over_root(mount, what);
	root_fd = mount;
}

static void attach_kind(int mount, int is_dir, const char *target, uint64_t propagation, int recursive, const char *what)
{
	if (strcmp(target, "/") == 0) {
		root_propagation = propagation;
		become_root(mount, what);
		return;
	}
	int fd = open_target(target, is_dir);
	check(fd, target);
	struct place place = look_at(fd, target);
	cover(mount, &place, target);
	set_propagation(mount, propagation, recursive, target);
	close(mount);
}

/* Puts a detached mount where the plan wants it; the first one, at "/", becomes the new root. */
static void attach(int mount, const char *target, uint64_t propagation, int recursive, const char *what)
{
	attach_kind(mount, is_directory(mount), target, propagation, recursive, what);
}

static void set_attributes(int mount, uint64_t set, uint64_t clear, int recursive, const char *what)
{
	struct mount_attr attr = {.attr_set = set, .attr_clr = clear};
	if (set | clear)
		check(sys_mount_setattr(mount, "", (unsigned)AT_EMPTY_PATH | (recursive ? AT_RECURSIVE_TREE : 0u), &attr), what);
}

void make_private(uint64_t propagation)
{
	struct mount_attr attr = {.propagation = propagation};
	check(sys_mount_setattr(AT_FDCWD, "/", AT_RECURSIVE_TREE, &attr), "/");
}

/* With slave, what is mounted outside from now on still arrives; nothing of ours ever gets out. */
void op_private_mounts(struct operation *op)
{
	uint64_t propagation = take_u32(op) & MS_SLAVE ? MS_SLAVE : MS_PRIVATE;
	all_private = propagation == MS_PRIVATE;
	make_private(propagation);
}

/* ---- new file systems ---- */

/* As check, with what the kernel says about the file system beside the error number. */
void check_context(long result, int fs, const char *what)
{
	char detail[512], message[256];
	if (result >= 0)
		return;
	int error = errno;
	ssize_t n = read(fs, message, sizeof message - 1);
	message[n > 0 ? n : 0] = 0;
	message[strcspn(message, "\n")] = 0;
	snprintf(detail, sizeof detail, "%s%s%s", what, message[0] ? ": " : "", message[0] && message[1] == ' ' ? message + 2 : message);
	fail(error, detail);
}

int open_context(const char *type)
{
	int fs = sys_fsopen(type);
	check(fs, type);
	return fs;
}

void set_option(int fs, const char *key, const char *value, const char *what)
{
	unsigned command = value[0] ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG;
	check_context(sys_fsconfig(fs, command, key, value[0] ? value : NULL), fs, what);
}

void take_options(struct operation *op, int fs)
{
	uint32_t count = take_u32(op);
	for (uint32_t i = 0; i < count; i++) {
		const char *key = take_text(op);
		const char *value = take_text(op);
		if (fs >= 0)
			set_option(fs, key, value, key);
	}
}

/* Makes the file system, and a detached mount of it. */
int finish_context(int fs, uint64_t attributes, const char *what)
{
	check_context(sys_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL), fs, what);
	int mount = sys_fsmount(fs, attributes);
	check(mount, what);
	close(fs);
	return mount;
}

int new_tmpfs(const char *size, const char *mode, uint64_t attributes, const char *what)
{
	int fs = open_context("tmpfs");
	set_option(fs, "size", size, what);
	set_option(fs, "mode", mode, what);
	return finish_context(fs, attributes, what);
}

/* The staging area is a tmpfs laid over "/", and reached by its descriptor: no directory of the outside is needed or used. */
void op_stage(void)
{
	stage_fd = new_tmpfs("65536", "0755", FIRM, "stage");
	lay_over_root(stage_fd, "/");
	check(mkdirat(stage_fd, "empty", 0555), "stage");
	check(mkdirat(stage_fd, "old", 0555), "stage");
	int file = openat(stage_fd, "empty-file", O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0444);
	check(file, "stage");
	close(file);
}

void op_bind(struct operation *op)
{
	const char *target = take_text(op);
	struct operation layer = *op;
	take_u32(op);
	const char *source = take_text(op);
	take_text(op);
	int recursive = take_u32(op) != 0;
	uint64_t set = take_u64(op), clear = take_u64(op), propagation = take_u32(op);
	int tree = take_tree(&layer, recursive);
	set_attributes(tree, set, clear, recursive, source);
	attach(tree, target, propagation, recursive, source);
}

/* A directory of the staging area; what is laid into it has a short name, so that no path of the outside is quoted in an option. */
static int stage_directory(const char *name)
{
	check(mkdirat(stage_fd, name, 0755), name);
	int directory = openat(stage_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	check(directory, name);
	return directory;
}

static void stage_layer(int directory, int tree, const char *name)
{
	check(mkdirat(directory, name, 0755), name);
	int place = openat(directory, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	check(place, name);
	check(sys_move_mount(tree, place), name);
	close(place);
	close(tree);
}

/* Lays out where changes go, as "c"; returns whether there are any. */
static int stage_changes(struct operation *op, int directory, const char *what)
{
	enum { REFUSED, IN_MEMORY, IN_DIRECTORY };
	uint32_t kind = take_u32(op);
	struct operation layer = *op;
	take_u32(op);
	take_text(op);
	take_text(op);
	int fs = kind == IN_MEMORY ? open_context("tmpfs") : -1;
	take_options(op, fs);
	if (kind == IN_DIRECTORY)
		stage_layer(directory, take_tree(&layer, 0), "c");
	if (kind == IN_MEMORY) {
		int memory = finish_context(fs, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, what);
		check(mkdirat(memory, "upper", 0755), what);
		check(mkdirat(memory, "work", 0755), what);
		stage_layer(directory, memory, "c");
	}
	return kind != REFUSED;
}

static size_t list_layers(char lower[128 * 4], uint32_t count)
{
	size_t used = 0;
	for (uint32_t i = 0; i < count; i++)
		used += (size_t)snprintf(lower + used, 128 * 4 - used, "%s%u", i ? ":" : "", i);
	return used;
}

/*
 * fsconfig(2) takes at most 255 bytes for an option, mount(2) a page for all of them. But that puts the mount somewhere: on a directory
 * beside the layers, from where it is moved on.
 */
static int mount_many_layers(const char *lower, int changes, int user_xattr, uint64_t attributes, const char *what)
{
	char options[1024];
	snprintf(options, sizeof options, "lowerdir=%s%s%s", lower, changes ? ",upperdir=c/upper,workdir=c/work" : "",
		 user_xattr ? ",userxattr" : "");
	check(mkdirat(AT_FDCWD, "m", 0755), what);
	check(syscall(SYS_mount, "overlay", "m", "overlay", 0, options), what);
	int mount = openat(AT_FDCWD, "m", O_PATH | O_DIRECTORY | O_CLOEXEC);
	check(mount, what);
	set_attributes(mount, attributes, 0, 0, what);
	return mount;
}

static int mount_few_layers(const char *lower, int changes, int user_xattr, uint64_t attributes, const char *what)
{
	int fs = open_context("overlay");
	set_option(fs, "lowerdir", lower, what);
	if (changes) {
		set_option(fs, "upperdir", "c/upper", what);
		set_option(fs, "workdir", "c/work", what);
	}
	if (user_xattr)
		set_option(fs, "userxattr", "", what);
	return finish_context(fs, attributes, what);
}

void op_overlay(struct operation *op)
{
	static uint32_t overlay_count;
	char name[32], lower[128 * 4] = "";
	const char *target = take_text(op);
	uint32_t count = take_u32(op);
	if (count > 128)
		fail(E2BIG, target);
	snprintf(name, sizeof name, "o%u", overlay_count++);
	int directory = stage_directory(name);
	for (uint32_t i = 0; i < count; i++) {
		snprintf(name, sizeof name, "%u", i);
		stage_layer(directory, take_tree(op, 0), name);
	}
	int changes = stage_changes(op, directory, target);
	uint64_t attributes = take_u64(op), propagation = take_u32(op);
	int user_xattr = take_u32(op) != 0;

	check(fchdir(directory), target); /* the layers are named relative to it */
	close(directory);
	int mount = list_layers(lower, count) < 256 ? mount_few_layers(lower, changes, user_xattr, attributes, target)
						    : mount_many_layers(lower, changes, user_xattr, attributes, target);
	attach(mount, target, propagation, 0, target);
}

static int owner_maps[16]; /* user namespaces for id-mapped mounts */
static uint32_t owner_count;

void op_owners(struct operation *op)
{
	if (owner_count == sizeof owner_maps / sizeof *owner_maps)
		fail(E2BIG, "owners");
	owner_maps[owner_count++] = take_own_namespace(op, "owners");
}

void op_mount(struct operation *op)
{
	const char *target = take_text(op);
	const char *type = take_text(op);
	int fs = open_context(type);
	take_options(op, fs);
	uint64_t attributes = take_u64(op), propagation = take_u32(op);
	uint32_t owners = take_u32(op);
	int mount = finish_context(fs, attributes, target);
	if (owners > owner_count)
		fail(EBADF, target);
	if (owners > 0)
		show_owners(mount, owner_maps[owners - 1], 0, MS_PRIVATE, target);
	if (own_count < sizeof own_mounts / sizeof *own_mounts)
		own_mounts[own_count++] = mount_id(mount, target);
	attach_kind(mount, 1, target, propagation, 0, target);
}

/* An empty file or directory, with a device or nothing over it. */
static void put_device(int directory, const char *name)
{
	char path[64];
	if ((size_t)snprintf(path, sizeof path, "/dev/%s", name) >= sizeof path || strchr(name, '/'))
		fail(EINVAL, name);
	int device = sys_open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | O_CLOEXEC);
	check(device, path);
	int place = openat(directory, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
	check(place, path);
	check(sys_move_mount(device, place), path);
	close(place);
	close(device);
}

/*
 * A minimal /dev, in a tmpfs that an operation before has just mounted there. Nobody else can reach that, so names in it are taken as they
 * are; and what may be done with devices is said for all of them in one call.
 */
void op_devices(struct operation *op)
{
	const char *target = take_text(op);
	uint64_t attributes = take_u64(op);
	int directory = open_inside(target, O_RDONLY | O_DIRECTORY);
	check(directory, target);
	if (!is_own(mount_id(directory, target)))
		fail(EXDEV, target);
	for (uint32_t count = take_u32(op); count > 0; count--)
		put_device(directory, take_text(op));
	if (attributes)
		set_attributes(directory, attributes, 0, 1, target);
	for (uint32_t count = take_u32(op); count > 0; count--) {
		const char *name = take_text(op);
		check(mkdirat(directory, name, 0755), name);
	}
	for (uint32_t count = take_u32(op); count > 0; count--) {
		const char *name = take_text(op);
		check(symlinkat(take_text(op), directory, name), name);
	}
	close(directory);
}

/* Content of the plan as a file of its own, in a tmpfs that all of them share. */
void op_file(struct operation *op)
{
	static int directory = -1;
	static uint32_t count;
	char name[16];
	uint32_t size;
	const char *target = take_text(op);
	uint32_t mode = take_u32(op);
	const unsigned char *content = take_bytes(op, &size);
	if (directory < 0) {
		int place = stage_directory("files");
		directory = new_tmpfs("8m", "0755", FIRM, "files");
		check(sys_move_mount(directory, place), "files");
		close(place);
	}
	snprintf(name, sizeof name, "%u", count++);
	int file = openat(directory, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
	check(file, target);
	for (ssize_t n; size > 0; content += n, size -= (uint32_t)n)
		check(n = write(file, content, size), target);
	check(fchmod(file, (mode_t)mode), target);
	close(file);
	int mount = sys_open_tree(directory, name, OPEN_TREE_CLONE | O_CLOEXEC);
	check(mount, target);
	set_attributes(mount, MOUNT_ATTR_RDONLY | FIRM, 0, 0, target);
	attach(mount, target, MS_PRIVATE, 0, target);
}

/* ---- what is not a mount of its own ---- */

/* What is not there needs no hiding. A symbolic link on the way is an error: it might be there to lead the mask astray. */
static int open_if_there(const char *path)
{
	int fd = open_inside(path, O_PATH);
	if (fd < 0 && errno != ENOENT && errno != ENOTDIR)
		fail(errno, path);
	return fd;
}

/* A detached mount of nothing, read-only: the first of its kind is made so, the others are copies of it. */
static int new_nothing(int is_dir, const char *path)
{
	static int firsts[2] = {-1, -1};
	int *first = &firsts[is_dir != 0];
	if (*first >= 0) {
		int copy = sys_open_tree(*first, "", OPEN_TREE_CLONE | O_CLOEXEC | AT_EMPTY_PATH);
		check(copy, path);
		return copy;
	}
	*first = sys_open_tree(stage_fd, is_dir ? "empty" : "empty-file", OPEN_TREE_CLONE | O_CLOEXEC);
	check(*first, path);
	set_attributes(*first, MOUNT_ATTR_RDONLY | FIRM, 0, 0, path);
	int copy = fcntl(*first, F_DUPFD_CLOEXEC, 0);
	check(copy, path);
	return copy;
}

void op_mask(struct operation *op)
{
	const char *path = take_text(op);
	int fd = open_if_there(path);
	if (fd < 0)
		return;
	struct place place = look_at(fd, path);
	int nothing = new_nothing(place.is_directory, path);
	cover(nothing, &place, path);
	close(nothing);
}

void op_read_only_path(struct operation *op)
{
	const char *path = take_text(op);
	int fd = open_if_there(path);
	if (fd < 0)
		return;
	struct place place = look_at(fd, path);
	int tree = sys_open_tree(fd, "", OPEN_TREE_CLONE | O_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE_TREE);
	check(tree, path);
	set_attributes(tree, MOUNT_ATTR_RDONLY, 0, 1, path);
	cover(tree, &place, path);
	close(tree);
}

/*
 * The new root takes the place of the old one, which goes into a directory of the staging area: a second mount of that, laid over the new
 * root. So a single umount, of which each waits for all processors, takes everything away. The way to that directory is "/..": of a
 * root that something is laid over that is what lies on top.
 */
void op_pivot_root(void)
{
	int over = sys_open_tree(stage_fd, "", OPEN_TREE_CLONE | O_CLOEXEC | AT_EMPTY_PATH);
	check(over, "stage");
	check(sys_move_mount(over, root_fd), "root");
	check(fchdir(root_fd), "root");
	check(syscall(SYS_pivot_root, ".", "/../old"), "root");
	check(syscall(SYS_umount2, ".", MNT_DETACH_FLAG), "old root"); /* "." is what lies on top of the new one, too */
	check(chdir("/"), "/");
	set_propagation(root_fd, root_propagation, 0, "root"); /* pivot_root moves no shared mount */
	close(over);
	close(root_fd);
	close(stage_fd);
	root_fd = stage_fd = -1;
}
