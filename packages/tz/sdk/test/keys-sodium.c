/* Keys by libsodium, as Debian has it compiled: Ed25519, X25519, and memory that it takes care of itself. */
#include <sodium.h>
#include <string.h>
#include <tee-sdk/tzmarshal.h>

static unsigned char signing_public[crypto_sign_PUBLICKEYBYTES], signing_secret[crypto_sign_SECRETKEYBYTES];
static unsigned char exchange_public[crypto_scalarmult_BYTES], exchange_secret[crypto_scalarmult_SCALARBYTES];

static int make_keys(void)
{
	static int is_made;
	if (is_made)
		return 0;
	if (sodium_init() < 0 || crypto_sign_keypair(signing_public, signing_secret))
		return -1;
	randombytes_buf(exchange_secret, sizeof exchange_secret);
	is_made = 1;
	return crypto_scalarmult_base(exchange_public, exchange_secret);
}

void keys(uint32_t uiCommand, tzi_encode_buffer_t *psInBuf, tzi_encode_buffer_t *psOutBuf, tz_return_t *puiRv)
{
	unsigned char *given, out[crypto_sign_BYTES];
	uint32_t length;
	*puiRv = TZ_ERROR_GENERIC;
	if (make_keys())
		return;
	switch (uiCommand) {
	case 0:
		*puiRv = TZIEncodeBufF(psOutBuf, "%" TZI_EARR "%" TZI_EARR, signing_public, (uint32_t)sizeof signing_public, exchange_public,
				       (uint32_t)sizeof exchange_public);
		break;
	case 1:
		if ((*puiRv = TZIDecodeBufF(psInBuf, "%" TZI_DARRSPC, &given, &length)))
			return;
		crypto_sign_detached(out, NULL, given, length, signing_secret);
		*puiRv = TZIEncodeBufF(psOutBuf, "%" TZI_EARR, out, (uint32_t)crypto_sign_BYTES);
		break;
	case 2:
		if ((*puiRv = TZIDecodeBufF(psInBuf, "%" TZI_DARRSPC, &given, &length)))
			return;
		*puiRv = length != crypto_scalarmult_BYTES || crypto_scalarmult(out, exchange_secret, given)
				 ? TZ_ERROR_GENERIC
				 : TZIEncodeBufF(psOutBuf, "%" TZI_EARR, out, (uint32_t)crypto_scalarmult_BYTES);
		break;
	default:
		*puiRv = TZ_ERROR_NOT_IMPLEMENTED;
	}
	sodium_memzero(out, sizeof out);
}
