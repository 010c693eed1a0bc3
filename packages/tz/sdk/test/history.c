/* A journal whose lines cannot be taken back: a count in four bytes, and every line. */
#include <string.h>

#include <tee-sdk/history.h>

enum { APPEND, READ, SPOIL, EMPTY };

void journal(uint32_t uiCommand, tzi_encode_buffer_t *psInBuf, tzi_encode_buffer_t *psOutBuf, tz_return_t *puiRv);

static tz_return_t initialize(svc_history *history)
{
	return svc_history_resize(history, sizeof(uint32_t));
}

static tz_return_t append(svc_history *history, const uint8_t *line, uint32_t length)
{
	const size_t end = history->size;
	const tz_return_t result = svc_history_resize(history, end + length);
	if (result != TZ_SUCCESS)
		return result;
	memcpy(history->state + end, line, length);
	history->state[0]++;
	return TZ_SUCCESS;
}

static tz_return_t advance(svc_history *history, uint32_t command, tzi_encode_buffer_t *in, tzi_encode_buffer_t *out)
{
	uint32_t length = 0;
	switch (command) {
	case APPEND: {
		const uint8_t *line = TZIDecodeArraySpace(in, &length);
		if (!line)
			return TZ_ERROR_ILLEGAL_ARGUMENT;
		const tz_return_t result = append(history, line, length);
		if (result != TZ_SUCCESS)
			return result;
		TZIEncodeUint32(out, history->state[0]);
		return TZ_SUCCESS;
	}
	case READ:
		TZIEncodeUint32(out, history->state[0]);
		TZIEncodeArray(out, history->state + sizeof(uint32_t), (uint32_t)(history->size - sizeof(uint32_t)));
		return TZ_SUCCESS;
	case SPOIL: /* changes the state, and then decodes what is not there */
		history->state[0] = 99;
		TZIDecodeUint32(in);
		return TZ_SUCCESS;
	case EMPTY:
		history->size = 0;
		return TZ_SUCCESS;
	default:
		return TZ_ERROR_NOT_IMPLEMENTED;
	}
}

void journal(uint32_t uiCommand, tzi_encode_buffer_t *psInBuf, tzi_encode_buffer_t *psOutBuf, tz_return_t *puiRv)
{
	*puiRv = svc_history_advance(initialize, advance, uiCommand, psInBuf, psOutBuf);
}
