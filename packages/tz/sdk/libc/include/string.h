/* Memory and text; C11 7.24, and what is in common use beside it. */
#ifndef _STRING_H
#define _STRING_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

void *memccpy(void *__restrict to, const void *__restrict from, int last, size_t size);
void *memchr(const void *memory, int value, size_t size);
int memcmp(const void *a, const void *b, size_t size);
void *memcpy(void *__restrict to, const void *__restrict from, size_t size);
void *memmem(const void *memory, size_t size, const void *wanted, size_t wanted_size);
void *memmove(void *to, const void *from, size_t size);
void *mempcpy(void *__restrict to, const void *__restrict from, size_t size);
void *memrchr(const void *memory, int value, size_t size);
void *memset(void *to, int value, size_t size);
/* Is not left out where nobody reads what it wrote. */
void explicit_bzero(void *to, size_t size);

char *stpcpy(char *__restrict to, const char *__restrict from);
char *stpncpy(char *__restrict to, const char *__restrict from, size_t size);
char *strcat(char *__restrict to, const char *__restrict from);
char *strchr(const char *text, int c);
char *strchrnul(const char *text, int c);
int strcmp(const char *a, const char *b);
int strcoll(const char *a, const char *b);
char *strcpy(char *__restrict to, const char *__restrict from);
size_t strcspn(const char *text, const char *set);
char *strdup(const char *text);
char *strerror(int number);
size_t strlcat(char *__restrict to, const char *__restrict from, size_t room);
size_t strlcpy(char *__restrict to, const char *__restrict from, size_t room);
size_t strlen(const char *text);
char *strncat(char *__restrict to, const char *__restrict from, size_t size);
int strncmp(const char *a, const char *b, size_t size);
char *strncpy(char *__restrict to, const char *__restrict from, size_t size);
char *strndup(const char *text, size_t size);
size_t strnlen(const char *text, size_t size);
char *strpbrk(const char *text, const char *set);
char *strrchr(const char *text, int c);
char *strsep(char **__restrict text, const char *__restrict set);
size_t strspn(const char *text, const char *set);
char *strstr(const char *text, const char *wanted);
char *strtok(char *__restrict text, const char *__restrict set);
char *strtok_r(char *__restrict text, const char *__restrict set, char **__restrict next);
size_t strxfrm(char *__restrict to, const char *__restrict from, size_t room);

#include <strings.h>

#ifdef __cplusplus
}
#endif

#endif
