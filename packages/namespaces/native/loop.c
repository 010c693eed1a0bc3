/*
 * Outside: file systems in image files. The file is opened once and locked; what happens to its path later changes nothing. The
 * kernel frees the loop device when the last mount of it is gone, whoever was killed.
 */
#include "launcher.h"
#include <linux/loop.h>

struct image {
	const char *source;
	const char *type;
	int writable;
	int direct_io;
	uint64_t offset, size;
	struct operation options;
	int file;
	int is_device;
};

/*
 * The lock belongs to the open file, which the loop device keeps open: it holds until the device is freed. Any number may read
 * a part of an image, one alone may write it; two kernels' views of one written file system would destroy it.
 */
static void lock_image(const struct image *image)
{
	struct flock lock = {
		.l_type = image->writable ? F_WRLCK : F_RDLCK,
		.l_whence = SEEK_SET,
		.l_start = (off_t)image->offset,
		.l_len = (off_t)image->size,
	};
	if (fcntl(image->file, F_OFD_SETLK, &lock) < 0)
		fail(errno == EACCES ? EAGAIN : errno, image->source);
}

static void open_image(struct image *image)
{
	struct stat info;
	image->file = open(image->source, (image->writable ? O_RDWR : O_RDONLY) | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	check(image->file, image->source);
	check(fstat(image->file, &info), image->source);
	image->is_device = S_ISBLK(info.st_mode);
	if (!S_ISREG(info.st_mode) && !image->is_device)
		fail(ENOTBLK, image->source);
	if (S_ISREG(info.st_mode) && (uint64_t)info.st_size < image->offset + image->size)
		fail(ERANGE, image->source);
	lock_image(image);
}

/* Whether somebody else was faster, or the device is just being made or freed: then another one is tried. */
static int is_taken(int error)
{
	return error == EBUSY || error == ENXIO || error == ENODEV || error == EAGAIN;
}

/* Binds the image to a free loop device, whose path it writes to `path`. Between asking for one and taking it others may take it. */
static int open_loop(const struct image *image, char path[32])
{
	struct loop_config config = {
		.fd = (uint32_t)image->file,
		.info.lo_offset = image->offset,
		.info.lo_sizelimit = image->size,
		.info.lo_flags = LO_FLAGS_AUTOCLEAR | (image->writable ? 0u : (unsigned)LO_FLAGS_READ_ONLY) |
				 (image->direct_io ? (unsigned)LO_FLAGS_DIRECT_IO : 0u),
	};
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	check(control, "/dev/loop-control");
	for (int tries = 0;; tries++) {
		struct timespec pause = {.tv_nsec = 200000L * (tries % 16 + (int)(getpid() % 7))};
		int number = ioctl(control, LOOP_CTL_GET_FREE);
		check(number, "/dev/loop-control");
		snprintf(path, 32, "/dev/loop%d", number);
		int device = open(path, (image->writable ? O_RDWR : O_RDONLY) | O_CLOEXEC);
		if (device >= 0 && ioctl(device, LOOP_CONFIGURE, &config) == 0) {
			close(control);
			return device;
		}
		if (!is_taken(errno) || tries == 2000)
			fail(errno, path);
		if (device >= 0)
			close(device);
		nanosleep(&pause, NULL);
	}
}

/* A mount of the file system on a device or, for erofs since Linux 6.12, in a file. Returns -1 where the kernel wants a device. */
static int mount_image(const struct image *image, const char *source, int may_want_device)
{
	struct operation options = image->options;
	int fs = open_context(image->type);
	set_option(fs, "source", source, image->source);
	if (!image->writable)
		set_option(fs, "ro", "", image->source);
	take_options(&options, fs);
	if (may_want_device && sys_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL) < 0) {
		int wants = errno == ENOTBLK || errno == EINVAL;
		if (!wants)
			check_context(-1, fs, image->source);
		close(fs);
		return -1;
	}
	if (!may_want_device)
		check_context(sys_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL), fs, image->source);
	int mount = sys_fsmount(fs, image->writable ? 0 : MOUNT_ATTR_RDONLY);
	check(mount, image->source);
	close(fs);
	return mount;
}

static int mount_without_loop(const struct image *image)
{
	char path[32];
	int whole = image->offset == 0 && image->size == 0;
	if (!whole || !(image->is_device || strcmp(image->type, "erofs") == 0))
		return -1;
	snprintf(path, sizeof path, "/proc/self/fd/%d", image->file);
	return mount_image(image, path, !image->is_device);
}

void op_image(struct operation *op)
{
	char path[32];
	struct image image = {.file = -1};
	uint32_t slot = take_u32(op);
	image.source = take_text(op);
	image.type = take_text(op);
	image.writable = take_u32(op) != 0;
	image.direct_io = take_u32(op) != 0;
	image.offset = take_u64(op);
	image.size = take_u64(op);
	image.options = *op;
	take_options(op, -1);
	int owners = take_owners(op, image.source);
	open_image(&image); /* stays open with us, and so does its lock */
	int mount = mount_without_loop(&image);
	if (mount < 0) {
		int device = open_loop(&image, path);
		mount = mount_image(&image, path, 0);
		close(device);
	}
	show_owners(mount, owners, 0, MS_PRIVATE, image.source);
	put_slot(slot, mount, image.source);
}
