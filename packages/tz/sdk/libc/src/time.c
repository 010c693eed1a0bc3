/* Time that passes, of the isolate's clock, and dates that are computed; C11 7.27. */
#include <errno.h>
#include <time.h>

#include "../../src/system.h"

enum { MICROSECONDS = 1000000, DAY = 86400 };

struct timeval {
	time_t seconds;
	long microseconds;
};

clock_t clock(void)
{
	uint64_t epoch, microseconds;
	return __pal_elapsed(&epoch, &microseconds) == 0 ? (clock_t)microseconds : -1;
}

int clock_gettime(clockid_t id, struct timespec *time)
{
	const clock_t now = id == CLOCK_MONOTONIC ? clock() : -1;
	if (now < 0) {
		errno = EINVAL;
		return -1;
	}
	*time = (struct timespec){now / MICROSECONDS, (long)(now % MICROSECONDS) * 1000};
	return 0;
}

int gettimeofday(struct timeval *time, void *zone);
int gettimeofday(struct timeval *time, void *zone)
{
	(void)time, (void)zone;
	errno = ENOSYS;
	return -1;
}

time_t time(time_t *out)
{
	errno = EOVERFLOW;
	if (out)
		*out = -1;
	return -1;
}

double difftime(time_t end, time_t start)
{
	return (double)(end - start);
}

/* Days from 1 March 0000 to 1 January 1970: years that begin in March have their leap day last. */
enum { DAYS_TO_1970 = 719468, DAYS_OF_400_YEARS = 146097 };

static int64_t divide_down(int64_t value, int64_t by)
{
	return value / by - (value % by < 0);
}

static int64_t days_before_year(int64_t year)
{
	return 365 * year + divide_down(year, 4) - divide_down(year, 100) + divide_down(year, 400);
}

/* Days before month 0 (March) to 11 (February) of such a year. */
static int days_before_month(int month)
{
	return (153 * month + 2) / 5;
}

static int is_leap(int64_t year)
{
	return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

struct tm *gmtime_r(const time_t *restrict time, struct tm *restrict out)
{
	const int64_t unix_days = divide_down(*time, DAY), days = unix_days + DAYS_TO_1970;
	const int seconds = (int)(*time - unix_days * DAY);
	int64_t year = divide_down(days, DAYS_OF_400_YEARS) * 400;
	/* At most 400 years from it; a guess from their mean length is at most one off. */
	year += divide_down((days - days_before_year(year)) * 400, DAYS_OF_400_YEARS);
	while (days_before_year(year + 1) <= days)
		year++;
	while (days_before_year(year) > days)
		year--;
	const int day = (int)(days - days_before_year(year));
	int month = 11;
	while (days_before_month(month) > day)
		month--;
	const int64_t civil_year = year + (month >= 10);
	if (civil_year - 1900 > INT32_MAX || civil_year - 1900 < INT32_MIN) {
		errno = EOVERFLOW;
		return NULL;
	}
	*out = (struct tm){
		.tm_sec = seconds % 60,
		.tm_min = seconds / 60 % 60,
		.tm_hour = seconds / 3600,
		.tm_mday = day - days_before_month(month) + 1,
		.tm_mon = (month + 2) % 12,
		.tm_year = (int)(civil_year - 1900),
		.tm_wday = (int)((unix_days % 7 + 11) % 7),
		.tm_yday = month >= 10 ? day - days_before_month(10) : day + 59 + is_leap(civil_year),
		.tm_zone = "GMT",
	};
	return out;
}

struct tm *gmtime(const time_t *time)
{
	static struct tm result;
	return gmtime_r(time, &result);
}

time_t timegm(struct tm *time)
{
	const int64_t months = (int64_t)time->tm_year * 12 + time->tm_mon - 2;
	const int64_t year = divide_down(months, 12) + 1900;
	const int month = (int)(months - (year - 1900) * 12);
	const int64_t days = days_before_year(year) + days_before_month(month) + time->tm_mday - 1 - DAYS_TO_1970;
	const time_t result = days * DAY + (int64_t)time->tm_hour * 3600 + (int64_t)time->tm_min * 60 + time->tm_sec;
	return gmtime_r(&result, time) ? result : -1;
}

time_t mktime(struct tm *time)
{
	return timegm(time);
}
