/* Keys that never leave: an ECDSA signature and an X25519 exchange by mbedTLS. */
#include "casemate-pal.h"
#include <mbedtls/ecdh.h>
#include <mbedtls/ecdsa.h>
#include <mbedtls/sha256.h>

static unsigned char signing[32], exchange[32];
static int is_made;
void reset_memory(void);

static int random_bytes(void *unused, unsigned char *out, size_t size)
{
	(void)unused;
	return utpm_rand(out, (uint32_t)size) == PAL_SUCCESS ? 0 : -1;
}

static int make(mbedtls_ecp_group_id curve, unsigned char *secret, mbedtls_ecp_group *group, mbedtls_mpi *d, mbedtls_ecp_point *q)
{
	mbedtls_ecp_group_init(group);
	mbedtls_mpi_init(d);
	mbedtls_ecp_point_init(q);
	int failed = mbedtls_ecp_group_load(group, curve);
	if (!failed && is_made)
		failed = mbedtls_mpi_read_binary(d, secret, 32) || mbedtls_ecp_mul(group, q, d, &group->G, random_bytes, 0);
	else if (!failed)
		failed = mbedtls_ecp_gen_keypair(group, d, q, random_bytes, 0) || mbedtls_mpi_write_binary(d, secret, 32);
	return failed;
}

void pal(uint32_t command, struct pal_buffer *in, struct pal_buffer *out, uint32_t *rv)
{
	mbedtls_ecp_group group, curve;
	mbedtls_mpi d, x, r, s;
	mbedtls_ecp_point q, p, peer;
	reset_memory();
	*rv = 1;
	if (make(MBEDTLS_ECP_DP_SECP256R1, signing, &group, &d, &q) || make(MBEDTLS_ECP_DP_CURVE25519, exchange, &curve, &x, &p))
		return;
	is_made = 1;
	mbedtls_mpi_init(&r);
	mbedtls_mpi_init(&s);
	mbedtls_ecp_point_init(&peer);
	size_t size = 0;
	switch (command) {
	case 0: /* both public keys */
		if (mbedtls_ecp_point_write_binary(&group, &q, MBEDTLS_ECP_PF_UNCOMPRESSED, &size, out->data, 65) ||
		    mbedtls_ecp_point_write_binary(&curve, &p, MBEDTLS_ECP_PF_UNCOMPRESSED, &size, out->data + 65, 32))
			return;
		out->offset = 97;
		break;
	case 1: /* r and s over a digest */
		if (mbedtls_ecdsa_sign(&group, &r, &s, &d, in->data, in->size_used, random_bytes, 0) ||
		    mbedtls_mpi_write_binary(&r, out->data, 32) || mbedtls_mpi_write_binary(&s, out->data + 32, 32))
			return;
		out->offset = 64;
		break;
	case 2: /* SHA-256 of the shared secret with a peer's public key */
		if (mbedtls_ecp_point_read_binary(&curve, &peer, in->data, in->size_used) ||
		    mbedtls_ecdh_compute_shared(&curve, &r, &peer, &x, random_bytes, 0) ||
		    mbedtls_mpi_write_binary_le(&r, out->data, 32) || mbedtls_sha256_ret(out->data, 32, out->data, 0))
			return;
		out->offset = 32;
		break;
	default:
		return;
	}
	*rv = 0;
}
