/* One request of a service in Memoir's form: state in, advance, state out. tee-sdk/history.h. */
#include <stdlib.h>
#include <string.h>

#include <tee-sdk/history.h>

#include "system.h"

/* Most states fit, and are there with one service call. */
enum { FIRST_READ = 1024 };

#define FIRST_RESERVED UINT32_C(0xfffffffd)

tz_return_t svc_history_resize(svc_history *history, size_t size)
{
	if (size == 0)
		return TZ_ERROR_ILLEGAL_ARGUMENT;
	uint8_t *state = realloc(history->state, size);
	if (!state)
		return TZ_ERROR_MEMORY;
	if (size > history->size)
		memset(state + history->size, 0, size - history->size);
	*history = (svc_history){state, size};
	return TZ_SUCCESS;
}

/* The stored state; size 0 where there is none yet. */
static tz_return_t read_state(svc_history *history)
{
	size_t needed = FIRST_READ;
	for (int attempt = 0; attempt < 2; attempt++) {
		const tz_return_t result = svc_history_resize(history, needed);
		if (result != TZ_SUCCESS)
			return result;
		const int status = __pal_state_read(history->state, &needed);
		if (status == 0) {
			history->size = needed;
			return TZ_SUCCESS;
		}
		if (needed <= history->size)
			return TZ_ERROR_SECURITY;
	}
	return TZ_ERROR_SECURITY;
}

static tz_return_t carry_out(svc_history *history, svc_initialize *initialize, svc_advance *advance, uint32_t command,
			     tzi_encode_buffer_t *in, tzi_encode_buffer_t *out)
{
	tz_return_t result = read_state(history);
	if (result == TZ_SUCCESS && history->size == 0)
		result = initialize(history);
	if (result == TZ_SUCCESS)
		result = advance(history, command, in, out);
	if (result == TZ_SUCCESS)
		result = in->uiRetVal;
	if (result == TZ_SUCCESS)
		result = out->uiRetVal;
	if (result != TZ_SUCCESS)
		return result;
	if (history->size == 0 || __pal_state_write(history->state, history->size) != 0)
		return TZ_ERROR_SECURITY;
	return TZ_SUCCESS;
}

tz_return_t svc_history_advance(svc_initialize *initialize, svc_advance *advance, uint32_t command, tzi_encode_buffer_t *in,
				tzi_encode_buffer_t *out)
{
	if (command == TZ_COMMAND_OPEN || command == TZ_COMMAND_CLOSE)
		return TZ_SUCCESS;
	if (command >= FIRST_RESERVED)
		return TZ_ERROR_NOT_IMPLEMENTED;
	svc_history history = {NULL, 0};
	const tz_return_t result = carry_out(&history, initialize, advance, command, in, out);
	free(history.state);
	return result;
}
