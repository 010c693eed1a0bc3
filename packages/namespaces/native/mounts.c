/* Inside: the mounts of the sandbox, from the staging area to pivot_root. */
#include "launcher.h"

/* Puts a detached mount where the plan wants it; the first one, at "/", becomes the new root. */
static void attach(int mount, const char *target, const char *what)
{
	if (strcmp(target, "/") == 0) {
		check(mkdirat(stage_fd, "root", 0755), what);
		int place = openat(stage_fd, "root", O_PATH | O_DIRECTORY | O_CLOEXEC);
		check(place, what);
		check(sys_move_mount(mount, place), what);
		close(place);
		root_fd = mount;
		return;
	}
	int place = open_target(target, is_directory(mount));
	check(place, target);
	check(sys_move_mount(mount, place), target);
	close(place);
	close(mount);
}

static void set_attributes(int mount, uint64_t attributes, int recursive, const char *what)
{
	struct mount_attr attr = {.attr_set = attributes};
	if (attributes)
		check(sys_mount_setattr(mount, "", (unsigned)AT_EMPTY_PATH | (recursive ? AT_RECURSIVE_TREE : 0u), &attr), what);
}

void op_private_mounts(void)
{
	struct mount_attr attr = {.propagation = MS_PRIVATE};
	check(sys_mount_setattr(AT_FDCWD, "/", AT_RECURSIVE_TREE, &attr), "/");
}

int new_tmpfs(const char *size, const char *mode, uint64_t attributes, const char *what)
{
	int fs = sys_fsopen("tmpfs");
	check(fs, what);
	check(sys_fsconfig(fs, FSCONFIG_SET_STRING, "size", size), what);
	check(sys_fsconfig(fs, FSCONFIG_SET_STRING, "mode", mode), what);
	check(sys_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL), what);
	int mount = sys_fsmount(fs, attributes);
	check(mount, what);
	close(fs);
	return mount;
}

/*
 * The staging area is a tmpfs laid over "/". Our own root stays what it was, so absolute paths still mean the outside, while the
 * staging area is reached by its descriptor: no directory of the outside is needed or used.
 */
void op_stage(void)
{
	stage_fd = new_tmpfs("65536", "0755", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, "stage");
	int top = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	check(top, "/");
	check(sys_move_mount(stage_fd, top), "/");
	close(top);
	check(mkdirat(stage_fd, "empty", 0555), "stage");
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
	int recursive = take_u32(op) != 0;
	uint64_t attributes = take_u64(op);
	int tree = take_tree(&layer, recursive);
	set_attributes(tree, attributes, recursive, source);
	attach(tree, target, source);
}

/* Lays a layer into the staging area under a short name, so that no path of the outside has to be quoted in an option. */
static void stage_layer(int tree, const char *name)
{
	check(mkdirat(stage_fd, name, 0755), name);
	int place = openat(stage_fd, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	check(place, name);
	check(sys_move_mount(tree, place), name);
	close(place);
	close(tree);
}

static void stage_changes(struct operation *op, uint32_t kind, const char *name)
{
	struct operation layer = *op;
	take_u32(op);
	take_text(op);
	const char *size = take_text(op);
	if (kind == 2)
		stage_layer(take_tree(&layer, 0), name);
	if (kind != 1)
		return;
	int memory = new_tmpfs(size, "0755", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, name);
	check(mkdirat(memory, "upper", 0755), name);
	check(mkdirat(memory, "work", 0755), name);
	stage_layer(memory, name);
}

static uint32_t overlay_count;

void op_overlay(struct operation *op)
{
	char lower[1024] = "", name[32], changes[32], path[48];
	const char *target = take_text(op);
	uint32_t count = take_u32(op), number = overlay_count++;
	size_t used = 0;
	if (count > 60)
		fail(E2BIG, target);
	for (uint32_t i = 0; i < count; i++) {
		snprintf(name, sizeof name, "o%ul%u", number, i);
		stage_layer(take_tree(op, 0), name);
		used += (size_t)snprintf(lower + used, sizeof lower - used, "%s%s", i ? ":" : "", name);
	}
	uint32_t kind = take_u32(op);
	snprintf(changes, sizeof changes, "o%uc", number);
	stage_changes(op, kind, changes);
	uint64_t attributes = take_u64(op);
	int user_xattr = take_u32(op) != 0;

	check(fchdir(stage_fd), target); /* the layers are named relative to the staging area */
	int fs = sys_fsopen("overlay");
	check(fs, "overlay");
	check(sys_fsconfig(fs, FSCONFIG_SET_STRING, "lowerdir", lower), target);
	if (kind) {
		snprintf(path, sizeof path, "%s/upper", changes);
		check(sys_fsconfig(fs, FSCONFIG_SET_STRING, "upperdir", path), target);
		snprintf(path, sizeof path, "%s/work", changes);
		check(sys_fsconfig(fs, FSCONFIG_SET_STRING, "workdir", path), target);
	}
	if (user_xattr)
		check(sys_fsconfig(fs, FSCONFIG_SET_FLAG, "userxattr", NULL), target);
	check(sys_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL), target);
	int mount = sys_fsmount(fs, attributes);
	check(mount, target);
	close(fs);
	attach(mount, target, target);
}

void op_mount(struct operation *op)
{
	const char *target = take_text(op);
	const char *type = take_text(op);
	uint32_t count = take_u32(op);
	int fs = sys_fsopen(type);
	check(fs, type);
	for (uint32_t i = 0; i < count; i++) {
		const char *key = take_text(op);
		const char *value = take_text(op);
		unsigned command = value[0] ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG;
		check(sys_fsconfig(fs, command, key, value[0] ? value : NULL), key);
	}
	uint64_t attributes = take_u64(op);
	check(sys_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL), target);
	int mount = sys_fsmount(fs, attributes);
	check(mount, target);
	close(fs);
	attach(mount, target, target);
}

void op_directory(struct operation *op)
{
	const char *path = take_text(op);
	uint32_t mode = take_u32(op);
	int fd = open_directory(path, 1);
	check(fd, path);
	close(fd);
	const char *name;
	int parent = open_parent(path, &name, 0);
	check(parent, path);
	check(fchmodat(parent, name, mode, 0), path);
	close(parent);
}

void op_symlink(struct operation *op)
{
	const char *path = take_text(op);
	const char *content = take_text(op);
	const char *name;
	int parent = open_parent(path, &name, 1);
	check(parent, path);
	check(symlinkat(content, parent, name), path);
	close(parent);
}

/* What is not there needs no hiding. A symbolic link on the way is an error: it might be there to lead the mask astray. */
static int open_if_there(const char *path)
{
	int fd = open_inside(path, O_PATH);
	if (fd < 0 && errno != ENOENT && errno != ENOTDIR)
		fail(errno, path);
	return fd;
}

void op_mask(struct operation *op)
{
	const char *path = take_text(op);
	int place = open_if_there(path);
	if (place < 0)
		return;
	int cover = sys_open_tree(stage_fd, is_directory(place) ? "empty" : "empty-file", OPEN_TREE_CLONE | O_CLOEXEC);
	check(cover, path);
	set_attributes(cover, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, 0, path);
	check(sys_move_mount(cover, place), path);
	close(place);
	close(cover);
}

void op_read_only_path(struct operation *op)
{
	const char *path = take_text(op);
	int place = open_if_there(path);
	if (place < 0)
		return;
	int tree = sys_open_tree(place, "", OPEN_TREE_CLONE | O_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE_TREE);
	check(tree, path);
	set_attributes(tree, MOUNT_ATTR_RDONLY, 1, path);
	check(sys_move_mount(tree, place), path);
	close(place);
	close(tree);
}

void op_pivot_root(void)
{
	int old = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	check(old, "/");
	check(fchdir(root_fd), "root");
	check(syscall(SYS_pivot_root, ".", "."), "root"); /* the old root now lies over the new one */
	check(fchdir(old), "old root");
	/* "." means whatever lies on top: first the staging area, then the old root itself. */
	check(syscall(SYS_umount2, ".", MNT_DETACH_FLAG), "stage");
	check(syscall(SYS_umount2, ".", MNT_DETACH_FLAG), "old root");
	check(chdir("/"), "/");
	close(old);
	close(root_fd);
	close(stage_fd);
	root_fd = stage_fd = -1;
}
