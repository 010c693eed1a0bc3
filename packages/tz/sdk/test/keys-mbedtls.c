/* Keys by mbedTLS, as Debian has it compiled: ECDSA with P-256, and X25519. */
#include <mbedtls/ctr_drbg.h>
#include <mbedtls/ecdh.h>
#include <mbedtls/ecdsa.h>
#include <mbedtls/error.h>
#include <stdio.h>
#include <tee-sdk/svcapi.h>
#include <tee-sdk/tzmarshal.h>

static mbedtls_ctr_drbg_context drbg;
static mbedtls_ecdsa_context signing;
static mbedtls_ecdh_context exchange;

static int entropy(void *unused, unsigned char *out, size_t size)
{
	(void)unused;
	return svc_utpm_rand_block(out, size);
}

/* Once; what goes wrong is printed, in mbedTLS's own words. */
static int make_keys(void)
{
	static int is_made;
	if (is_made)
		return 0;
	mbedtls_ctr_drbg_init(&drbg);
	mbedtls_ecdsa_init(&signing);
	mbedtls_ecdh_init(&exchange);
	int error = mbedtls_ctr_drbg_seed(&drbg, entropy, NULL, NULL, 0);
	if (!error)
		error = mbedtls_ecdsa_genkey(&signing, MBEDTLS_ECP_DP_SECP256R1, mbedtls_ctr_drbg_random, &drbg);
	if (!error)
		error = mbedtls_ecdh_setup(&exchange, MBEDTLS_ECP_DP_CURVE25519);
	if (error) {
		char text[100];
		mbedtls_strerror(error, text, sizeof text);
		fprintf(stderr, "make keys: %s\n", text);
	}
	is_made = !error;
	return error;
}

void keys(uint32_t uiCommand, tzi_encode_buffer_t *psInBuf, tzi_encode_buffer_t *psOutBuf, tz_return_t *puiRv)
{
	unsigned char *given, out[200];
	uint32_t length;
	size_t size;
	*puiRv = TZ_ERROR_GENERIC;
	if (make_keys())
		return;
	switch (uiCommand) {
	case 0: /* the key that verifies, uncompressed */
		if (mbedtls_ecp_point_write_binary(&signing.grp, &signing.Q, MBEDTLS_ECP_PF_UNCOMPRESSED, &size, out, sizeof out))
			return;
		*puiRv = TZIEncodeBufF(psOutBuf, "%" TZI_EARR, out, (uint32_t)size);
		break;
	case 1: /* signs a digest: DER */
		if ((*puiRv = TZIDecodeBufF(psInBuf, "%" TZI_DARRSPC, &given, &length)))
			return;
		*puiRv = mbedtls_ecdsa_write_signature(&signing, MBEDTLS_MD_SHA256, given, length, out, &size, mbedtls_ctr_drbg_random, &drbg)
				 ? TZ_ERROR_GENERIC
				 : TZIEncodeBufF(psOutBuf, "%" TZI_EARR, out, (uint32_t)size);
		break;
	case 2: { /* our share and the secret, for a peer's share of 32 bytes behind their length */
		unsigned char share[64];
		size_t share_size;
		if ((*puiRv = TZIDecodeBufF(psInBuf, "%" TZI_DARRSPC, &given, &length)))
			return;
		*puiRv = TZ_ERROR_GENERIC;
		if (mbedtls_ecdh_make_public(&exchange, &share_size, share, sizeof share, mbedtls_ctr_drbg_random, &drbg) ||
		    mbedtls_ecdh_read_public(&exchange, given, length) ||
		    mbedtls_ecdh_calc_secret(&exchange, &size, out, sizeof out, mbedtls_ctr_drbg_random, &drbg))
			return;
		*puiRv = TZIEncodeBufF(psOutBuf, "%" TZI_EARR "%" TZI_EARR, share, (uint32_t)share_size, out, (uint32_t)size);
		break;
	}
	default:
		*puiRv = TZ_ERROR_NOT_IMPLEMENTED;
	}
}
