/*
 * What libraries ask of a process, so that they link: one thread, whose locks are free whenever it asks; memory that is never paged
 * out, and whose rights are fixed; no signals, and no system calls.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/types.h>

static int refuse(int error)
{
	errno = error;
	return -1;
}

int pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attributes)
{
	(void)attributes;
	mutex->is_locked = 0;
	return 0;
}

int pthread_mutex_destroy(pthread_mutex_t *mutex)
{
	return mutex->is_locked ? EBUSY : 0;
}

int pthread_mutex_lock(pthread_mutex_t *mutex)
{
	if (mutex->is_locked)
		return EDEADLK;
	mutex->is_locked = 1;
	return 0;
}

int pthread_mutex_trylock(pthread_mutex_t *mutex)
{
	return mutex->is_locked ? EBUSY : pthread_mutex_lock(mutex);
}

int pthread_mutex_unlock(pthread_mutex_t *mutex)
{
	mutex->is_locked = 0;
	return 0;
}

pid_t getpid(void);
pid_t getpid(void)
{
	return 1;
}

enum { SC_PAGESIZE = 30, PAGE = 4096 };

long sysconf(int name);
long sysconf(int name)
{
	return name == SC_PAGESIZE ? PAGE : refuse(EINVAL);
}

/* No page of a PAL is ever written to a disk. */
int mlock(const void *memory, size_t size);
int mlock(const void *memory, size_t size)
{
	(void)memory, (void)size;
	return 0;
}

int munlock(const void *memory, size_t size);
int munlock(const void *memory, size_t size)
{
	(void)memory, (void)size;
	return 0;
}

int madvise(void *memory, size_t size, int advice);
int madvise(void *memory, size_t size, int advice)
{
	(void)memory, (void)size, (void)advice;
	return refuse(ENOSYS);
}

int mprotect(void *memory, size_t size, int rights);
int mprotect(void *memory, size_t size, int rights)
{
	(void)memory, (void)size, (void)rights;
	return refuse(ENOSYS);
}

void *mmap(void *memory, size_t size, int rights, int flags, int file, off_t offset);
void *mmap(void *memory, size_t size, int rights, int flags, int file, off_t offset)
{
	(void)memory, (void)size, (void)rights, (void)flags, (void)file, (void)offset;
	return (void *)(intptr_t)refuse(ENOSYS);
}

int munmap(void *memory, size_t size);
int munmap(void *memory, size_t size)
{
	(void)memory, (void)size;
	return refuse(EINVAL);
}

int raise(int signal);
int raise(int signal)
{
	(void)signal;
	abort();
}

void *signal(int number, void *handler);
void *signal(int number, void *handler)
{
	(void)number, (void)handler;
	return (void *)(intptr_t)refuse(ENOSYS);
}

unsigned int alarm(unsigned int seconds);
unsigned int alarm(unsigned int seconds)
{
	(void)seconds;
	return 0;
}

long syscall(long number, ...);
long syscall(long number, ...)
{
	(void)number;
	return refuse(ENOSYS);
}
