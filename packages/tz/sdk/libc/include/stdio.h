/* Output; C11 7.21. There are no files: standard output and error go to the developer, and what opens one fails with ENOSYS. */
#ifndef _STDIO_H
#define _STDIO_H

#include <stdarg.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#define EOF (-1)
#define BUFSIZ 1024
#define FILENAME_MAX 255
#define FOPEN_MAX 3
#define SEEK_SET 0
#define SEEK_CUR 1
#define SEEK_END 2
#define _IOFBF 0
#define _IOLBF 1
#define _IONBF 2

typedef struct __pal_file FILE;
typedef long fpos_t;

extern FILE *const stdin;
extern FILE *const stdout;
extern FILE *const stderr;
#define stdin stdin
#define stdout stdout
#define stderr stderr

/*
 * Formats: flags - + space # 0, width and precision (* too), lengths hh h l ll j z t L, conversions d i o u x X c s p a A e E f F g G %.
 * Numbers with a point are exact, with the precision of a double. %n is not there; l with c and s is ASCII.
 */
int printf(const char *__restrict format, ...) __attribute__((format(printf, 1, 2)));
int fprintf(FILE *__restrict file, const char *__restrict format, ...) __attribute__((format(printf, 2, 3)));
int sprintf(char *__restrict to, const char *__restrict format, ...) __attribute__((format(printf, 2, 3)));
int snprintf(char *__restrict to, size_t room, const char *__restrict format, ...) __attribute__((format(printf, 3, 4)));
int asprintf(char **to, const char *__restrict format, ...) __attribute__((format(printf, 2, 3)));
int vprintf(const char *__restrict format, va_list arguments) __attribute__((format(printf, 1, 0)));
int vfprintf(FILE *__restrict file, const char *__restrict format, va_list arguments) __attribute__((format(printf, 2, 0)));
int vsprintf(char *__restrict to, const char *__restrict format, va_list arguments) __attribute__((format(printf, 2, 0)));
int vsnprintf(char *__restrict to, size_t room, const char *__restrict format, va_list arguments)
	__attribute__((format(printf, 3, 0)));
int vasprintf(char **to, const char *__restrict format, va_list arguments) __attribute__((format(printf, 2, 0)));

int fputc(int c, FILE *file);
int putc(int c, FILE *file);
int putchar(int c);
int fputs(const char *__restrict text, FILE *__restrict file);
int puts(const char *text);
size_t fwrite(const void *__restrict data, size_t size, size_t count, FILE *__restrict file);
void perror(const char *text);

int fflush(FILE *file);
int setvbuf(FILE *__restrict file, char *__restrict buffer, int mode, size_t size);
void setbuf(FILE *__restrict file, char *__restrict buffer);
int ferror(FILE *file);
int feof(FILE *file);
void clearerr(FILE *file);
int fileno(FILE *file);

FILE *fopen(const char *__restrict path, const char *__restrict mode);
int fclose(FILE *file);
size_t fread(void *__restrict data, size_t size, size_t count, FILE *__restrict file);
char *fgets(char *__restrict to, int room, FILE *__restrict file);
int fgetc(FILE *file);
int getc(FILE *file);
int getchar(void);
int fseek(FILE *file, long offset, int whence);
long ftell(FILE *file);
void rewind(FILE *file);
int remove(const char *path);
int rename(const char *from, const char *to);

#ifdef __cplusplus
}
#endif

#endif
