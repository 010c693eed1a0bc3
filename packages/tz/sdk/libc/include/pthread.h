/* Locks, for libraries that take them: there is one thread, so they are free unless it holds them itself. As large as the host's. */
#ifndef _PTHREAD_H
#define _PTHREAD_H

#ifdef __cplusplus
extern "C" {
#endif

typedef union {
	int is_locked;
	long size[5];
} pthread_mutex_t;
typedef union {
	int unused;
} pthread_mutexattr_t;

#define PTHREAD_MUTEX_INITIALIZER {0}

/* EDEADLK where it is locked already. */
int pthread_mutex_lock(pthread_mutex_t *mutex);
/* EBUSY where it is locked already. */
int pthread_mutex_trylock(pthread_mutex_t *mutex);
int pthread_mutex_unlock(pthread_mutex_t *mutex);
int pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attributes);
int pthread_mutex_destroy(pthread_mutex_t *mutex);

#ifdef __cplusplus
}
#endif

#endif
