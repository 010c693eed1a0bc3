/*
 * Services whose state cannot be rolled back, in Memoir's form: the author says how a state begins and how a request moves it on; image and
 * library do the rest (`pal build --replay-protected`). Both must do the same when they are repeated: after a crash a request is carried out
 * again. There is no clock, and random bytes are the same again.
 *
 *	void counter(uint32_t command, tzi_encode_buffer_t *in, tzi_encode_buffer_t *out, tz_return_t *rv)
 *	{
 *		*rv = svc_history_advance(initialize, advance, command, in, out);
 *	}
 */
#ifndef HISTORY_H
#define HISTORY_H

#include <stddef.h>
#include <stdint.h>

#include <tee-sdk/tzmarshal.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The state that a request finds; what it leaves is the next one. The bytes are of malloc, and the library frees them. */
typedef struct svc_history {
	uint8_t *state;
	size_t size;
} svc_history;

/* Makes the state `size` bytes long, at least one: what it had is kept, new bytes are zero. TZ_ERROR_MEMORY changes nothing. */
tz_return_t svc_history_resize(svc_history *history, size_t size);

/* Gives the first state, of at least one byte, to a history that has none; TZ_SUCCESS or an error. Runs once in the life of the service. */
typedef tz_return_t svc_initialize(svc_history *history);

/*
 * Carries out one request: decodes from `in`, encodes into `out`, changes the state, returns TZ_SUCCESS or an error. An error, its own or one
 * that stuck in a buffer, leaves the state as it was.
 */
typedef tz_return_t svc_advance(svc_history *history, uint32_t command, tzi_encode_buffer_t *in, tzi_encode_buffer_t *out);

/*
 * Runs one request of such a service, and returns what the entry returns. Opening and closing sessions, where these commands arrive
 * (-DPAL_RESERVED_COMMANDS), succeeds and touches no state; properties there are none. TZ_ERROR_SECURITY where the image is not
 * replay-protected, or the new state is empty or refused.
 */
tz_return_t svc_history_advance(svc_initialize *initialize, svc_advance *advance, uint32_t command, tzi_encode_buffer_t *in,
				tzi_encode_buffer_t *out);

#ifdef __cplusplus
}
#endif

#endif
