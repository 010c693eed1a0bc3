/*
 * Keys of a certificate authority: made here, used here, and outside of this PAL only sealed to it.
 *
 * Commands: 0 makes a key and answers it sealed, and its public point; 1 takes a sealed key and data and answers a DER signature, ECDSA
 * P-256 over SHA-256, and how many signatures there have been; 2 answers that number. Whoever calls controls every byte of the input.
 */
#include <string.h>

#include <casemate-pal.h>
#include <mbedtls/ecdsa.h>
#include <mbedtls/platform_util.h>
#include <mbedtls/sha256.h>
#include <tee-sdk/tzmarshal.h>

enum { CREATE = 0, SIGN = 1, COUNT = 2 };
enum { SECRET = 32, POINT = 65, MAX_BLOB = 1024 };

/* What is sealed. */
struct key {
	unsigned char secret[SECRET], point[POINT];
};

static const struct pal_seal_policy TO_THIS_PAL = { .kind = PAL_SEAL_TO_SELF, .version = 1, .label = "pal-ca signing key" };

static int random_bytes(void *unused, unsigned char *out, size_t size)
{
	(void)unused;
	return utpm_rand(out, (uint32_t)size) == PAL_SUCCESS ? 0 : MBEDTLS_ERR_ECP_RANDOM_FAILED;
}

static tz_return_t create(tzi_encode_buffer_t *out)
{
	struct key key;
	unsigned char blob[MAX_BLOB];
	uint32_t size = sizeof blob;
	size_t written;
	mbedtls_ecdsa_context pair;
	mbedtls_ecdsa_init(&pair);
	bool is_made = mbedtls_ecdsa_genkey(&pair, MBEDTLS_ECP_DP_SECP256R1, random_bytes, NULL) == 0 &&
		       mbedtls_mpi_write_binary(&pair.d, key.secret, SECRET) == 0 &&
		       mbedtls_ecp_point_write_binary(&pair.grp, &pair.Q, MBEDTLS_ECP_PF_UNCOMPRESSED, &written, key.point, POINT) == 0 &&
		       seal_data(&TO_THIS_PAL, &key, sizeof key, NULL, 0, blob, &size) == PAL_SUCCESS;
	mbedtls_ecdsa_free(&pair);
	mbedtls_platform_zeroize(key.secret, SECRET);
	if (!is_made)
		return TZ_ERROR_GENERIC;
	TZIEncodeArray(out, blob, size);
	TZIEncodeArray(out, key.point, POINT);
	return TZ_SUCCESS;
}

/* Opens a sealed key; a blob that is not this PAL's, or not one of its keys, is refused. */
static bool open_key(mbedtls_ecdsa_context *pair, const void *blob, uint32_t size)
{
	struct key key;
	uint32_t length = sizeof key;
	struct pal_sealed_info info;
	bool is_open = unseal_data(blob, size, NULL, 0, &key, &length, &info) == PAL_SUCCESS && length == sizeof key &&
		       memcmp(info.label, TO_THIS_PAL.label, sizeof info.label) == 0 &&
		       mbedtls_ecp_group_load(&pair->grp, MBEDTLS_ECP_DP_SECP256R1) == 0 &&
		       mbedtls_mpi_read_binary(&pair->d, key.secret, SECRET) == 0 &&
		       mbedtls_ecp_point_read_binary(&pair->grp, &pair->Q, key.point, POINT) == 0;
	mbedtls_platform_zeroize(&key, sizeof key);
	return is_open;
}

/* The count goes up first: a signature that is not counted does not exist. */
static tz_return_t sign(tzi_encode_buffer_t *in, tzi_encode_buffer_t *out)
{
	uint32_t blob_size, size;
	const void *blob = TZIDecodeArraySpace(in, &blob_size);
	const void *data = TZIDecodeArraySpace(in, &size);
	unsigned char digest[32], signature[MBEDTLS_ECDSA_MAX_LEN];
	size_t length = 0;
	uint64_t count;
	mbedtls_ecdsa_context pair;
	if (blob == NULL || data == NULL)
		return TZ_ERROR_DECODE_NO_DATA;
	mbedtls_ecdsa_init(&pair);
	tz_return_t status = TZ_ERROR_ACCESS_DENIED;
	if (open_key(&pair, blob, blob_size)) {
		bool is_signed = counter_increment(&count) == PAL_SUCCESS && mbedtls_sha256_ret(data, size, digest, 0) == 0 &&
				 mbedtls_ecdsa_write_signature(&pair, MBEDTLS_MD_SHA256, digest, sizeof digest, signature, &length,
							       random_bytes, NULL) == 0;
		status = is_signed ? TZ_SUCCESS : TZ_ERROR_GENERIC;
	}
	mbedtls_ecdsa_free(&pair);
	if (status != TZ_SUCCESS)
		return status;
	TZIEncodeArray(out, signature, (uint32_t)length);
	TZIEncodeUint32(out, (uint32_t)count);
	return TZ_SUCCESS;
}

static tz_return_t tell_count(tzi_encode_buffer_t *out)
{
	uint64_t count;
	if (counter_read(&count) != PAL_SUCCESS)
		return TZ_ERROR_GENERIC;
	TZIEncodeUint32(out, (uint32_t)count);
	return TZ_SUCCESS;
}

void pal(uint32_t command, tzi_encode_buffer_t *in, tzi_encode_buffer_t *out, tz_return_t *rv)
{
	switch (command) {
	case CREATE:
		*rv = create(out);
		break;
	case SIGN:
		*rv = sign(in, out);
		break;
	case COUNT:
		*rv = tell_count(out);
		break;
	default:
		*rv = TZ_ERROR_NOT_IMPLEMENTED;
	}
}
