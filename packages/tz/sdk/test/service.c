/* A service in the manner of the TEE-SDK's, for the tests: messages and the C library here, the micro-TPM in service-tpm.c. */
#include <assert.h>
#include <errno.h>
#if !defined(__wasm__)
#include <setjmp.h>
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <tee-sdk/svcapi.h>

#include "service.h"

static tz_return_t echo(tzi_encode_buffer_t *in, tzi_encode_buffer_t *out)
{
	uint32_t number, length, room = 16, text_length;
	uint8_t *array, *space;
	char text[16];
	tz_return_t error;
	if ((error = TZIDecodeBufF(in, "%" TZI_DU32 "%" TZI_DARRSPC "%" TZI_DARR "%*" TZI_DU32, &number, &array, &length, text, &room)))
		return error;
	text_length = room;
	if ((error = TZIEncodeBufF(out, "%" TZI_EU32 "%" TZI_EARR "%" TZI_ESTR "%" TZI_EARRSPC, number, array, length, text, &space,
				   (uint32_t)4)))
		return error;
	memcpy(space, &text_length, 4);
	return TZ_SUCCESS;
}

static tz_return_t print_much(tzi_encode_buffer_t *in)
{
	const uint32_t lines = TZIDecodeUint32(in);
	printf("%s, %d of %u: %5.2f|%-6s|%#x\n", "hello", -1, lines, 3.14159, "left", 255);
	for (uint32_t i = 0; i < lines; i++)
		printf("line %u\n", i);
	fprintf(stderr, "to standard error: %s\n", strerror(ENOMEM));
	errno = ERANGE;
	perror("perror");
	write(STDOUT_FILENO, "written\n", 8);
	putchar('a');
	fputs("bc", stdout);
	return TZ_SUCCESS;
}

/* Takes blocks until there are no more, gives every other one back, and says how many bytes there were. */
static tz_return_t use_heap(tzi_encode_buffer_t *in, tzi_encode_buffer_t *out)
{
	const uint32_t size = TZIDecodeUint32(in);
	unsigned char **first = NULL;
	uint32_t blocks = 0;
	for (unsigned char **block; (block = malloc(size)); blocks++) {
		memset(block, 0xa5, size);
		*block = (unsigned char *)first;
		first = block;
	}
	const int error = errno;
	while (first) {
		unsigned char **next = (unsigned char **)*first;
		free(first);
		first = next;
	}
	void *again = malloc(size * blocks);
	free(again);
	return TZIEncodeBufF(out, "%" TZI_EU32 "%" TZI_EU32 "%" TZI_EU32, blocks, (uint32_t)(error == ENOMEM), (uint32_t)(again != NULL));
}

static int compare(const void *a, const void *b)
{
	const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return (x > y) - (x < y);
}

static tz_return_t sort(tzi_encode_buffer_t *in, tzi_encode_buffer_t *out)
{
	uint32_t length;
	uint32_t *numbers = TZIDecodeArraySpace(in, &length);
	if (!numbers)
		return TZIDecodeGetError(in);
	qsort(numbers, length / 4, 4, compare);
	const uint32_t wanted = numbers[length / 8], *found = bsearch(&wanted, numbers, length / 4, 4, compare);
	TZIEncodeArray(out, numbers, length);
	return TZIEncodeBufF(out, "%" TZI_EU32, *found);
}

static tz_return_t jump(tzi_encode_buffer_t *out)
{
#if defined(__wasm__)
	(void)out;
	return TZ_ERROR_NOT_IMPLEMENTED;
#else
	jmp_buf place;
	volatile uint32_t came = 0;
	const int value = setjmp(place);
	came++;
	if (value < 3)
		longjmp(place, value + 1);
	return TZIEncodeBufF(out, "%" TZI_EU32 "%" TZI_EU32, (uint32_t)value, came);
#endif
}

/* The sum of what was lent to be read; what was lent to be written is filled with it. */
static tz_return_t use_lent(tzi_encode_buffer_t *in, tzi_encode_buffer_t *out)
{
	uint32_t sum = 0, length, flags;
	while (TZIDecodeGetType(in) == TZI_TYPE_MEMORY) {
		uint8_t *memory = TZIDecodeMemoryAccess(in, &length, &flags);
		if (!memory)
			break;
		if (flags & TZ_MEM_SERVICE_RO)
			for (uint32_t i = 0; i < length; i++)
				sum += memory[i];
		if (flags & TZ_MEM_SERVICE_WO)
			memset(memory, (int)sum, length);
	}
	TZIEncodeUint32(out, sum);
	return TZIDecodeGetError(in);
}

static tz_return_t use_numbers(tzi_encode_buffer_t *in, tzi_encode_buffer_t *out)
{
	char text[80];
	uint32_t length;
	const char *given = TZIDecodeArraySpace(in, &length);
	if (!given)
		return TZIDecodeGetError(in);
	char *end;
	const double number = strtod(given, &end);
	const unsigned long hexadecimal = strtoul(given, NULL, 16);
	snprintf(text, sizeof text, "%.17g %a %lx %d", number, number, hexadecimal, (int)(end - given));
	return TZIEncodeBufF(out, "%" TZI_ESTR, text);
}

/* An array is copied into less room than it needs, and one that is none is asked for: both are told. */
static tz_return_t provoke_errors(tzi_encode_buffer_t *in, tzi_encode_buffer_t *out)
{
	char little[4];
	uint32_t room = sizeof little, length = 7;
	void *array = little;
	const tz_return_t little_room = TZIDecodeBufF(in, "%" TZI_DARR, little, &room);
	const tz_return_t no_room = TZIDecodeBufF(in, "%" TZI_DARR_NOLEN, little);
	const tz_return_t no_format = TZIEncodeBufF(out, "%d", 1);
	const tz_return_t wrong_type = TZIDecodeBufF(in, "%" TZI_DARRSPC, (void **)&array, &length);
	in->uiRetVal = TZ_SUCCESS;
	return TZIEncodeBufF(out, "%" TZI_EU32 "%" TZI_EU32 "%" TZI_EU32 "%" TZI_EU32 "%" TZI_EU32 "%" TZI_EU32, little_room, room, no_room,
			     no_format, wrong_type, (uint32_t)(array == NULL && length == 0));
}

static void say_goodbye(void)
{
	printf("goodbye\n");
}

void service(uint32_t uiCommand, tzi_encode_buffer_t *psInBuf, tzi_encode_buffer_t *psOutBuf, tz_return_t *puiRv)
{
	switch (uiCommand) {
	case SVC_ECHO:
		*puiRv = echo(psInBuf, psOutBuf);
		break;
	case SVC_PRINT:
		*puiRv = print_much(psInBuf);
		break;
	case SVC_HEAP:
		*puiRv = use_heap(psInBuf, psOutBuf);
		break;
	case SVC_SORT:
		*puiRv = sort(psInBuf, psOutBuf);
		break;
	case SVC_JUMP:
		*puiRv = jump(psOutBuf);
		break;
	case SVC_EXIT:
		atexit(say_goodbye);
		exit(3);
	case SVC_ASSERT:
		assert(uiCommand == SVC_ECHO);
		break;
	case SVC_LENT:
		*puiRv = use_lent(psInBuf, psOutBuf);
		break;
	case SVC_NUMBERS:
		*puiRv = use_numbers(psInBuf, psOutBuf);
		break;
	case SVC_STARTED:
		*puiRv = TZIEncodeBufF(psOutBuf, "%" TZI_EU32, (uint32_t)started);
		break;
	case SVC_ENDLESS_OUTPUT:
		for (uint32_t i = 0; psOutBuf->uiRetVal == TZ_SUCCESS; i++)
			TZIEncodeUint32(psOutBuf, i);
		*puiRv = psOutBuf->uiRetVal;
		break;
	case SVC_TWICE_FREED: {
		void *volatile block = malloc(100);
		free(block);
		free(block);
		break;
	}
	case SVC_ERRORS:
		*puiRv = provoke_errors(psInBuf, psOutBuf);
		break;
	default:
		*puiRv = classic_service(uiCommand, psInBuf, psOutBuf);
	}
}
