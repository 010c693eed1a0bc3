/* Files, of which there are none: what opens one fails with ENOSYS, what names one with EBADF, and nothing can be read. */
#include <errno.h>
#include <stdio.h>
#include <sys/types.h>

struct stat;
struct pollfd;

static int refuse(int error)
{
	errno = error;
	return -1;
}

FILE *fopen(const char *restrict path, const char *restrict mode)
{
	(void)path, (void)mode;
	refuse(ENOSYS);
	return NULL;
}

int fclose(FILE *file)
{
	return fflush(file);
}

size_t fread(void *restrict data, size_t size, size_t count, FILE *restrict file)
{
	(void)data, (void)size, (void)count, (void)file;
	return 0;
}

char *fgets(char *restrict to, int room, FILE *restrict file)
{
	(void)to, (void)room, (void)file;
	return NULL;
}

int fgetc(FILE *file)
{
	(void)file;
	return EOF;
}

int getc(FILE *file)
{
	return fgetc(file);
}

int getchar(void)
{
	return EOF;
}

int fseek(FILE *file, long offset, int whence)
{
	(void)file, (void)offset, (void)whence;
	return refuse(EBADF);
}

long ftell(FILE *file)
{
	(void)file;
	return refuse(EBADF);
}

void rewind(FILE *file)
{
	(void)file;
}

int remove(const char *path)
{
	(void)path;
	return refuse(ENOSYS);
}

int rename(const char *from, const char *to)
{
	(void)from, (void)to;
	return refuse(ENOSYS);
}

int open(const char *path, int flags, ...);
int open(const char *path, int flags, ...)
{
	(void)path, (void)flags;
	return refuse(ENOSYS);
}

int close(int file);
int close(int file)
{
	(void)file;
	return refuse(EBADF);
}

ssize_t read(int file, void *data, size_t size);
ssize_t read(int file, void *data, size_t size)
{
	(void)file, (void)data, (void)size;
	return refuse(EBADF);
}

int fcntl(int file, int command, ...);
int fcntl(int file, int command, ...)
{
	(void)file, (void)command;
	return refuse(EBADF);
}

int fstat(int file, struct stat *status);
int fstat(int file, struct stat *status)
{
	(void)file, (void)status;
	return refuse(EBADF);
}

int stat(const char *path, struct stat *status);
int stat(const char *path, struct stat *status)
{
	(void)path, (void)status;
	return refuse(ENOSYS);
}

void *opendir(const char *path);
void *opendir(const char *path)
{
	(void)path;
	refuse(ENOSYS);
	return NULL;
}

void *readdir(void *directory);
void *readdir(void *directory)
{
	(void)directory;
	refuse(EBADF);
	return NULL;
}

int closedir(void *directory);
int closedir(void *directory)
{
	(void)directory;
	return refuse(EBADF);
}

int poll(struct pollfd *files, unsigned long count, int timeout);
int poll(struct pollfd *files, unsigned long count, int timeout)
{
	(void)files, (void)count, (void)timeout;
	return refuse(ENOSYS);
}
