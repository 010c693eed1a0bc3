/* The service as a function of a program of the host, with svc-null: every command of service-tpm.c, judged here. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tee-sdk/svcapi.h>
#include <tee-sdk/svcnull.h>

#include "service.h"

void journal(uint32_t uiCommand, tzi_encode_buffer_t *psInBuf, tzi_encode_buffer_t *psOutBuf, tz_return_t *puiRv);
void service(uint32_t uiCommand, tzi_encode_buffer_t *psInBuf, tzi_encode_buffer_t *psOutBuf, tz_return_t *puiRv);

#define REQUIRE(condition)                                                                                                     \
	do {                                                                                                                   \
		if (!(condition)) {                                                                                            \
			fprintf(stderr, "line %d does not hold: %s\n", __LINE__, #condition);                                  \
			exit(1);                                                                                               \
		}                                                                                                              \
	} while (0)

enum { SIZE = 8192 };
static tzi_encode_buffer_t *in, *out;

static tz_return_t call(svc_command command)
{
	tz_return_t result = TZ_SUCCESS;
	TZIEncodeToDecode(in);
	TZIEncodeBufInit(out, SIZE);
	service(command, in, out, &result);
	TZIEncodeToDecode(out);
	TZIEncodeBufInit(in, SIZE);
	return result;
}

static TPM_PCR_INFO info_of_zero(uint32_t index)
{
	/* SHA-1 of the composite of uPCR 7 at zero, the TEE-SDK's own vector. */
	static const uint8_t zero[TPM_HASH_SIZE] = {0xc6, 0x08, 0xa1, 0xe6, 0xeb, 0x7d, 0x0f, 0x88, 0x6b, 0x15,
						    0x75, 0x6b, 0x29, 0x83, 0xbe, 0xd2, 0xe5, 0x86, 0x19, 0xcb};
	TPM_PCR_INFO info = {{0, {0}}, {{0}}, {{0}}};
	utpm_pcr_select_i(&info.pcrSelection, index);
	memcpy(info.digestAtRelease.value, zero, sizeof zero);
	return info;
}

/* Seals, and gives the blob in `blob`. */
static uint32_t seal(const TPM_PCR_INFO *info, const char *text, uint8_t blob[300])
{
	uint8_t *data;
	uint32_t room, length;
	TZIEncodeBufF(in, "%" TZI_EARR "%" TZI_ESTR, (void *)(uintptr_t)info, (uint32_t)(info ? sizeof *info : 0), text);
	REQUIRE(call(SVC_SEAL) == TZ_SUCCESS);
	REQUIRE(TZIDecodeBufF(out, "%" TZI_DARRSPC "%" TZI_DU32, &data, &room, &length) == TZ_SUCCESS && length <= room && length < 300);
	memcpy(blob, data, length);
	return length;
}

static tz_return_t unseal(const uint8_t *blob, uint32_t length, const char *expected)
{
	uint8_t *data, *creation;
	uint32_t room, creation_length, size;
	TZIEncodeArray(in, blob, length);
	const tz_return_t result = call(SVC_UNSEAL);
	if (result == TZ_SUCCESS) {
		REQUIRE(TZIDecodeBufF(out, "%" TZI_DARRSPC "%" TZI_DARRSPC "%" TZI_DU32, &data, &room, &creation, &creation_length, &size) ==
			TZ_SUCCESS);
		REQUIRE(creation_length == TPM_HASH_SIZE && size == strlen(expected) + 1 && strcmp((char *)data, expected) == 0);
	}
	return result;
}

static void check_sealing(void)
{
	uint8_t blob[300], measurement[TPM_HASH_SIZE] = {1};
	const TPM_PCR_INFO info = info_of_zero(7);
	uint32_t length = seal(&info, "hello pal-ly boy", blob);
	REQUIRE(length == utpm_seal_output_size(17, true) && unseal(blob, length, "hello pal-ly boy") == TZ_SUCCESS);
	REQUIRE(unseal(blob, length - 18, "") == TZ_ERROR_SECURITY && unseal(blob, 5, "") == TZ_ERROR_SECURITY);
	TZIEncodeBufF(in, "%" TZI_EU32 "%" TZI_EARR, (uint32_t)7, measurement, (uint32_t)sizeof measurement);
	REQUIRE(call(SVC_PCR_EXTEND) == TZ_SUCCESS);
	REQUIRE(unseal(blob, length, "") == TZ_ERROR_SECURITY);
	length = seal(NULL, "to the PAL", blob);
	REQUIRE(length == utpm_seal_output_size(11, false) && unseal(blob, length, "to the PAL") == TZ_SUCCESS);
	svc_null_reset();
}

static void check_memory(void)
{
	uint8_t from[100], to[50];
	memset(from, 2, sizeof from);
	memset(to, 0, sizeof to);
	REQUIRE(svc_null_lend(0, from, sizeof from, TZ_MEM_SERVICE_RO) && svc_null_lend(1, to, sizeof to, TZ_MEM_SERVICE_WO));
	REQUIRE(!svc_null_lend(16, to, sizeof to, TZ_MEM_SERVICE_WO));
	TZIEncodeMemoryRecord(in, &(tzi_memory_record_t){sizeof from, 0, TZ_MEM_SERVICE_RO});
	TZIEncodeMemoryRecord(in, &(tzi_memory_record_t){sizeof to, 1, TZ_MEM_SERVICE_WO});
	REQUIRE(call(SVC_LENT) == TZ_SUCCESS && TZIDecodeUint32(out) == 200 && to[0] == 200 && to[49] == 200);
	/* Another length, another access, or what was not lent. */
	static const tzi_memory_record_t wrong[] = {{99, 0, 1}, {100, 0, 3}, {100, 2, 1}, {100, 0xffffffff, 1}};
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		TZIEncodeMemoryRecord(in, &wrong[i]);
		REQUIRE(call(SVC_LENT) == TZ_ERROR_DECODE_TYPE);
	}
}

static tz_return_t call_journal(uint32_t command)
{
	tz_return_t result = TZ_SUCCESS;
	TZIEncodeToDecode(in);
	TZIEncodeBufInit(out, SIZE);
	journal(command, in, out, &result);
	TZIEncodeToDecode(out);
	TZIEncodeBufInit(in, SIZE);
	return result;
}

static void check_history(void)
{
	static uint8_t line[1500] = {7};
	uint8_t *lines;
	uint32_t length;
	REQUIRE(call_journal(TZ_COMMAND_OPEN) == TZ_SUCCESS);
	TZIEncodeArray(in, line, sizeof line);
	REQUIRE(call_journal(0) == TZ_SUCCESS && TZIDecodeUint32(out) == 1);
	REQUIRE(call_journal(2) == TZ_ERROR_DECODE_NO_DATA);
	REQUIRE(call_journal(3) == TZ_ERROR_SECURITY);
	REQUIRE(call_journal(1) == TZ_SUCCESS && TZIDecodeUint32(out) == 1);
	REQUIRE((lines = TZIDecodeArraySpace(out, &length)) && length == sizeof line && lines[0] == 7);
	svc_null_reset();
	REQUIRE(call_journal(1) == TZ_SUCCESS && TZIDecodeUint32(out) == 0);
	REQUIRE(call_journal(UINT32_C(0xfffffffd)) == TZ_ERROR_NOT_IMPLEMENTED);
}

int main(void)
{
	uint8_t *bytes, value[32] = {3};
	uint32_t length;
	in = aligned_alloc(8, SIZE), out = aligned_alloc(8, SIZE);
	REQUIRE(in && out);
	TZIEncodeBufInit(in, SIZE);
	check_sealing();
	check_memory();
	TZIEncodeUint32(in, 7);
	REQUIRE(call(SVC_PCR_READ) == TZ_SUCCESS && (bytes = TZIDecodeArraySpace(out, &length)) && length == 20 && bytes[0] == 0);
	TZIEncodeUint32(in, 8);
	REQUIRE(call(SVC_PCR_READ) == TZ_ERROR_GENERIC);
	TZIEncodeUint32(in, 5000);
	REQUIRE(call(SVC_RAND) == TZ_SUCCESS);
	REQUIRE(call(SVC_TIME) == TZ_SUCCESS && TZIDecodeUint32(out) == 1 && TZIDecodeUint32(out) == 1);
	TZIEncodeArray(in, value, sizeof value);
	REQUIRE(call(SVC_NV) == TZ_SUCCESS);
	TZIEncodeArray(in, value, sizeof value);
	REQUIRE(call(SVC_NV) == TZ_SUCCESS && (bytes = TZIDecodeArraySpace(out, &length)) && length == 32 && bytes[0] == 3);
	REQUIRE(call(SVC_ID_GETPUB) == TZ_ERROR_GENERIC);
	check_history();
	svc_null_reset();
	free(in), free(out);
	printf("all holds\n");
	return 0;
}
