/* Types of POSIX that sources name. */
#ifndef _SYS_TYPES_H
#define _SYS_TYPES_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

#ifndef __ssize_t_defined
#define __ssize_t_defined
typedef ptrdiff_t ssize_t;
#endif
typedef int64_t off_t;
typedef int pid_t;
typedef unsigned int uint;

#endif
