/* Time; C11 7.27. A PAL knows how much of it passes (clock, clock_gettime), not what date it is (time is -1). */
#ifndef _TIME_H
#define _TIME_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef int64_t time_t;
typedef int64_t clock_t;
typedef int clockid_t;
#define CLOCKS_PER_SEC ((clock_t)1000000)
#define CLOCK_REALTIME 0
#define CLOCK_MONOTONIC 1

struct timespec {
	time_t tv_sec;
	long tv_nsec;
};

struct tm {
	int tm_sec, tm_min, tm_hour, tm_mday, tm_mon, tm_year, tm_wday, tm_yday, tm_isdst;
	long tm_gmtoff;
	const char *tm_zone;
};

/* Microseconds of the isolate's clock, -1 where there is none. */
clock_t clock(void);
/* CLOCK_MONOTONIC alone. */
int clock_gettime(clockid_t clock, struct timespec *time);
/* -1: EOVERFLOW. */
time_t time(time_t *out);
double difftime(time_t end, time_t start);
struct tm *gmtime_r(const time_t *__restrict time, struct tm *__restrict out);
struct tm *gmtime(const time_t *time);
/* In UTC, as there is no other. */
time_t timegm(struct tm *time);
time_t mktime(struct tm *time);

#ifdef __cplusplus
}
#endif

#endif
