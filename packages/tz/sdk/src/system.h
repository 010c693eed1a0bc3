/* What the libraries here need from below them. src/tv has it in a PAL, src/null in a program of the host. */
#ifndef CASEMATE_SYSTEM_H
#define CASEMATE_SYSTEM_H

#include <stddef.h>
#include <stdint.h>

/* Text for the developer, whole or in pieces. */
void __pal_print(const char *text, size_t size);
/* Random bytes; 0, or nonzero where there are none. */
int __pal_random(void *out, size_t size);
/* Microseconds since the start that epoch names; 0, or nonzero where there is no time. */
int __pal_elapsed(uint64_t *epoch, uint64_t *microseconds);
/* `bytes` more of memory behind what was given before (but for alignment to 16), or NULL. It is zero. */
void *__pal_more_memory(size_t bytes);

/* The call's memory reference `index` as it was really lent; false where there is none. */
struct pal_lent {
	void *address;
	uint64_t length;
	uint32_t access;
};
_Bool __pal_lent(uint32_t index, struct pal_lent *lent);

/*
 * The replay-protected state: *size is room and becomes what there is, 0 where there is none yet. Nonzero, with a *size above the room where
 * only room is missing.
 */
int __pal_state_read(void *out, size_t *size);
int __pal_state_write(const void *state, size_t size);

/* Ends the call: with its start code, as an error of the service; without, as a fault. */
_Noreturn void __pal_end(void);
/* Start code that flushes standard output when the call ends says so here. */
extern _Bool __pal_flushes;

#endif
