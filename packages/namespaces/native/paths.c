/* Inside: paths below the new root, which may be hostile: openat2 resolves each, and follows no symbolic link. */
#include "launcher.h"

#define INSIDE (RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS)

int open_inside(const char *path, uint64_t flags)
{
	return sys_openat2(root_fd, path, flags | O_CLOEXEC, 0, INSIDE);
}

int open_directory(const char *path, int make)
{
	int fd = open_inside(path, O_PATH | O_DIRECTORY);
	if (fd >= 0 || errno != ENOENT || !make)
		return fd;
	const char *name;
	int parent = open_parent(path, &name, 1);
	if (parent < 0)
		return -1;
	int failed = mkdirat(parent, name, 0755);
	int saved = errno;
	close(parent);
	errno = saved;
	if (failed && errno != EEXIST)
		return -1;
	return open_inside(path, O_PATH | O_DIRECTORY);
}

int open_parent(const char *path, const char **name, int make)
{
	char parent[MAX_PATH];
	const char *slash = strrchr(path, '/');
	size_t length = slash ? (size_t)(slash - path) : 0;
	if (!slash || length >= sizeof parent || slash[1] == 0) {
		errno = EINVAL;
		return -1;
	}
	memcpy(parent, path, length);
	parent[length] = 0;
	*name = slash + 1;
	return open_directory(length ? parent : "/", make);
}

static int make_file(const char *path)
{
	const char *name;
	int parent = open_parent(path, &name, 1);
	if (parent < 0)
		return -1;
	int fd = sys_openat2(parent, name, O_CREAT | O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0644, RESOLVE_BENEATH);
	int saved = errno;
	close(parent);
	errno = saved;
	if (fd < 0)
		return -1;
	close(fd);
	return 0;
}

/* Opens a mount point inside, made if it is missing: a directory for a directory, a file for anything else. */
int open_target(const char *path, int is_directory)
{
	if (is_directory)
		return open_directory(path, 1);
	int fd = open_inside(path, O_PATH);
	if (fd >= 0 || errno != ENOENT)
		return fd;
	if (make_file(path))
		return -1;
	return open_inside(path, O_PATH);
}

int is_directory(int fd)
{
	struct stat info;
	check(fstat(fd, &info), "stat");
	return S_ISDIR(info.st_mode);
}
