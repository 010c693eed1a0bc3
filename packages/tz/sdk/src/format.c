/* Several values by a format; the pieces are TZI_E… and TZI_D… of tee-sdk/tz.h. */
#include <string.h>

#include <tee-sdk/tzmarshal.h>

/* va_list in a structure, so that it can be handed on by reference on every ABI. */
struct arguments {
	va_list list;
};

/* Moves on over `text`, if it is what comes next. */
static bool take(const char **at, const char *text)
{
	const size_t length = strlen(text);
	if (strncmp(*at, text, length) != 0)
		return false;
	*at += length;
	return true;
}

/* A pointer whose type is not known: it is written as bytes. */
static void put_pointer(void *to, void *value)
{
	memcpy(to, &value, sizeof value);
}

/* One piece, behind its "%"; false for what is none. */
static bool encode_piece(tzi_encode_buffer_t *buffer, const char **at, struct arguments *arguments)
{
	if (take(at, TZI_EU32)) {
		TZIEncodeUint32(buffer, va_arg(arguments->list, uint32_t));
		return true;
	}
	if (take(at, TZI_ESTR)) {
		const char *text = va_arg(arguments->list, const char *);
		TZIEncodeArray(buffer, text, text ? (uint32_t)strlen(text) + 1 : 0);
		return true;
	}
	if (take(at, TZI_EARR)) {
		const void *data = va_arg(arguments->list, const void *);
		TZIEncodeArray(buffer, data, va_arg(arguments->list, uint32_t));
		return true;
	}
	if (!take(at, TZI_EARRSPC))
		return false;
	void *space = va_arg(arguments->list, void *);
	put_pointer(space, TZIEncodeArraySpace(buffer, va_arg(arguments->list, uint32_t)));
	return true;
}

tz_return_t vTZIEncodeBufF(tzi_encode_buffer_t *psBuffer, const char *str, va_list argp)
{
	struct arguments arguments;
	bool is_good = true;
	va_copy(arguments.list, argp);
	while (is_good && *str)
		if (*str++ == '%')
			is_good = encode_piece(psBuffer, &str, &arguments);
	va_end(arguments.list);
	return is_good ? psBuffer->uiRetVal : TZ_ERROR_ILLEGAL_ARGUMENT;
}

tz_return_t TZIEncodeBufF(tzi_encode_buffer_t *psBuffer, const char *str, ...)
{
	va_list arguments;
	va_start(arguments, str);
	const tz_return_t result = vTZIEncodeBufF(psBuffer, str, arguments);
	va_end(arguments);
	return result;
}

static tz_return_t decode_uint32(tzi_encode_buffer_t *buffer, bool is_wanted, struct arguments *arguments)
{
	const uint32_t value = TZIDecodeUint32(buffer);
	if (is_wanted)
		*va_arg(arguments->list, uint32_t *) = value;
	return TZ_SUCCESS;
}

static tz_return_t decode_space(tzi_encode_buffer_t *buffer, bool is_wanted, bool is_counted, struct arguments *arguments)
{
	uint32_t length;
	void *data = TZIDecodeArraySpace(buffer, &length);
	if (is_wanted)
		put_pointer(va_arg(arguments->list, void *), data);
	if (is_counted)
		*va_arg(arguments->list, uint32_t *) = length;
	return TZ_SUCCESS;
}

/* A copy needs the length of the room: without one it is refused. The length that is given back is the true one. */
static tz_return_t decode_copy(tzi_encode_buffer_t *buffer, bool is_wanted, bool is_counted, struct arguments *arguments)
{
	uint32_t length, room = 0;
	const void *data = TZIDecodeArraySpace(buffer, &length);
	void *to = is_wanted ? va_arg(arguments->list, void *) : NULL;
	if (is_counted) {
		uint32_t *counter = va_arg(arguments->list, uint32_t *);
		room = *counter;
		*counter = length;
	}
	if (!to)
		return TZ_SUCCESS;
	if (!is_counted)
		return TZ_ERROR_ILLEGAL_ARGUMENT;
	if (length > room)
		return TZ_ERROR_SHORT_BUFFER;
	if (length > 0)
		memcpy(to, data, length);
	return TZ_SUCCESS;
}

/* One piece, behind its "%". */
static tz_return_t decode_piece(tzi_encode_buffer_t *buffer, const char **at, struct arguments *arguments)
{
	const bool is_wanted = !take(at, "*");
	if (take(at, TZI_DU32))
		return decode_uint32(buffer, is_wanted, arguments);
	const bool is_copy = take(at, "s");
	if ((!is_copy && !take(at, "p")) || !take(at, "%"))
		return TZ_ERROR_ILLEGAL_ARGUMENT;
	const bool is_counted = !take(at, "*");
	if (!take(at, PRIu32))
		return TZ_ERROR_ILLEGAL_ARGUMENT;
	return (is_copy ? decode_copy : decode_space)(buffer, is_wanted, is_counted, arguments);
}

tz_return_t vTZIDecodeBufF(tzi_encode_buffer_t *psBuffer, const char *str, va_list argp)
{
	struct arguments arguments;
	tz_return_t result = TZ_SUCCESS;
	va_copy(arguments.list, argp);
	while (result == TZ_SUCCESS && *str)
		if (*str++ == '%')
			result = decode_piece(psBuffer, &str, &arguments);
	va_end(arguments.list);
	return result == TZ_SUCCESS ? psBuffer->uiRetVal : result;
}

tz_return_t TZIDecodeBufF(tzi_encode_buffer_t *psBuffer, const char *str, ...)
{
	va_list arguments;
	va_start(arguments, str);
	const tz_return_t result = vTZIDecodeBufF(psBuffer, str, arguments);
	va_end(arguments);
	return result;
}
