/*
 * The services of a PAL, for C: one source for images for the processor (engine kvm) and for WebAssembly (engine wasm).
 *
 * The entry is `void pal(uint32_t command, struct pal_buffer *in, struct pal_buffer *out, uint32_t *rv)`. What the services do,
 * and the sizes of what they take and give, stands with PalServiceName in @casemate/pal-linker. Each returns a PAL_* status.
 */
#ifndef CASEMATE_PAL_H
#define CASEMATE_PAL_H

#include <stdint.h>

/* A buffer as the caller and the PAL see it: `size_used` bytes of input, `offset` bytes of output, in `data`. */
struct pal_buffer {
	uint32_t return_value, size, offset, size_used;
	unsigned char data[];
};

enum pal_status {
	PAL_SUCCESS = 0,
	PAL_BAD_PARAM = 1,
	PAL_PCR_OUT_OF_RANGE = 2,
	PAL_INSUFFICIENT_ENTROPY = 3,
	PAL_ERR = 4,
	PAL_SHORT_BUFFER = 5,
	PAL_REFUSED = 6,
	PAL_UNAVAILABLE = 7,
};

/* Memory that the caller lent for this call. */
enum { PAL_MEMORY_READ = 1, PAL_MEMORY_WRITE = 2 };
struct pal_memory {
	uint64_t address, length;
	uint32_t access, reserved;
};

/* Who may unseal, and what is authenticated with the data. */
enum pal_seal_kind {
	PAL_SEAL_TO_SELF = 0,
	PAL_SEAL_TO_PCRS = 1,		/* the uPCRs of `mask` as they are */
	PAL_SEAL_TO_PCR_DIGEST = 2,	/* the uPCRs of `mask` when SHA-256 over them is `digest` */
	PAL_SEAL_TO_PAL = 3,		/* the PAL with the measurement `digest` */
	PAL_SEAL_TO_SIGNER = 4,		/* PALs by the same signer, of the same name, no older than this one */
};
struct pal_seal_policy {
	uint32_t kind, mask, version, reserved;
	unsigned char label[32], digest[32];
};
struct pal_sealed_info {
	uint32_t kind, mask, version, security_version;
	unsigned char label[32], creation[32]; /* SHA-256 of the uPCR 0 of the PAL that sealed */
};

/* TrustVisor's own structures (tv_utpm.h) have SHA-1. */
enum { PAL_TV_DIGEST = 20, PAL_TV_PCR_INFO = 43, PAL_TV_NV = 32 };

#if defined(__wasm__)

#define PAL_SERVICE(name, parameters)                                                                                          \
	__attribute__((import_module("trustvisor"), import_name(#name))) uint32_t name parameters;

PAL_SERVICE(utpm_pcr_read, (uint32_t index, void *digest))
PAL_SERVICE(utpm_pcr_extend, (uint32_t index, const void *digest))
PAL_SERVICE(utpm_seal, (const void *data, uint32_t size, const void *policy, uint32_t policy_size, void *blob, uint32_t *blob_size))
PAL_SERVICE(utpm_unseal, (const void *blob, uint32_t blob_size, void *data, uint32_t *size, void *creation))
PAL_SERVICE(utpm_quote, (const void *nonce, uint32_t nonce_size, uint32_t mask, void *quoted, uint32_t *quoted_size, void *signature,
			 uint32_t *signature_size))
PAL_SERVICE(utpm_rand, (void *out, uint32_t size))
PAL_SERVICE(utpm_id_getpub, (void *out, uint32_t *size))
PAL_SERVICE(time_elapsed, (void *epoch, uint64_t *microseconds))
PAL_SERVICE(print, (const char *text, uint32_t size))
PAL_SERVICE(state_read, (void *out, uint32_t *size))
PAL_SERVICE(state_write, (const void *data, uint32_t size))
PAL_SERVICE(memory_lent, (uint32_t index, struct pal_memory *memory))
PAL_SERVICE(tv_pcr_read, (uint32_t index, void *digest))
PAL_SERVICE(tv_pcr_extend, (uint32_t index, const void *digest))
PAL_SERVICE(tv_seal, (const void *data, uint32_t size, const void *info, uint32_t info_size, void *blob, uint32_t *blob_size))
PAL_SERVICE(tv_unseal, (const void *blob, uint32_t blob_size, void *data, uint32_t *size, void *digest_at_creation))
PAL_SERVICE(tv_quote, (const void *selection, uint32_t selection_size, const void *nonce, void *signature, uint32_t *signature_size,
		       void *composite, uint32_t *composite_size))
PAL_SERVICE(tv_id_getpub, (void *out, uint32_t *size))
PAL_SERVICE(counter_read, (uint64_t *value))
PAL_SERVICE(counter_increment, (uint64_t *value))
PAL_SERVICE(tpmnvram_getsize, (uint32_t *size))
PAL_SERVICE(tpmnvram_readall, (void *data))
PAL_SERVICE(tpmnvram_writeall, (const void *data))
PAL_SERVICE(seal_data, (const struct pal_seal_policy *policy, const void *data, uint32_t size, const void *extra, uint32_t extra_size,
			void *blob, uint32_t *blob_size))
PAL_SERVICE(unseal_data, (const void *blob, uint32_t blob_size, const void *extra, uint32_t extra_size, void *data, uint32_t *size,
			  struct pal_sealed_info *info))
#undef PAL_SERVICE

#elif defined(__x86_64__)

/* A write to port 0x54 with the service's number in eax; parameters as in a system call, a seventh in r12. */
static inline uint32_t pal_service(uint64_t number, const uint64_t p[7])
{
	register uint64_t r10 __asm__("r10") = p[3];
	register uint64_t r8 __asm__("r8") = p[4];
	register uint64_t r9 __asm__("r9") = p[5];
	register uint64_t r12 __asm__("r12") = p[6];
	__asm__ volatile("outb %%al, $0x54"
			 : "+a"(number)
			 : "D"(p[0]), "S"(p[1]), "d"(p[2]), "r"(r10), "r"(r8), "r"(r9), "r"(r12)
			 : "memory");
	return (uint32_t)number;
}

#define PAL_CALL(number, ...) pal_service(number, (const uint64_t[7]){__VA_ARGS__})
#define PAL_POINTER(pointer) ((uint64_t)(uintptr_t)(pointer))

static inline uint32_t utpm_pcr_read(uint32_t index, void *digest)
{
	return PAL_CALL(1, index, PAL_POINTER(digest));
}
static inline uint32_t utpm_pcr_extend(uint32_t index, const void *digest)
{
	return PAL_CALL(2, index, PAL_POINTER(digest));
}
static inline uint32_t utpm_seal(const void *data, uint32_t size, const void *policy, uint32_t policy_size, void *blob,
				 uint32_t *blob_size)
{
	return PAL_CALL(3, PAL_POINTER(data), size, PAL_POINTER(policy), policy_size, PAL_POINTER(blob), PAL_POINTER(blob_size));
}
static inline uint32_t utpm_unseal(const void *blob, uint32_t blob_size, void *data, uint32_t *size, void *creation)
{
	return PAL_CALL(4, PAL_POINTER(blob), blob_size, PAL_POINTER(data), PAL_POINTER(size), PAL_POINTER(creation));
}
static inline uint32_t utpm_quote(const void *nonce, uint32_t nonce_size, uint32_t mask, void *quoted, uint32_t *quoted_size,
				  void *signature, uint32_t *signature_size)
{
	return PAL_CALL(5, PAL_POINTER(nonce), nonce_size, mask, PAL_POINTER(quoted), PAL_POINTER(quoted_size),
			PAL_POINTER(signature), PAL_POINTER(signature_size));
}
static inline uint32_t utpm_rand(void *out, uint32_t size)
{
	return PAL_CALL(6, PAL_POINTER(out), size);
}
static inline uint32_t utpm_id_getpub(void *out, uint32_t *size)
{
	return PAL_CALL(7, PAL_POINTER(out), PAL_POINTER(size));
}
static inline uint32_t time_elapsed(void *epoch, uint64_t *microseconds)
{
	return PAL_CALL(8, PAL_POINTER(epoch), PAL_POINTER(microseconds));
}
static inline uint32_t print(const char *text, uint32_t size)
{
	return PAL_CALL(9, PAL_POINTER(text), size);
}
static inline uint32_t state_read(void *out, uint32_t *size)
{
	return PAL_CALL(10, PAL_POINTER(out), PAL_POINTER(size));
}
static inline uint32_t state_write(const void *data, uint32_t size)
{
	return PAL_CALL(11, PAL_POINTER(data), size);
}
static inline uint32_t memory_lent(uint32_t index, struct pal_memory *memory)
{
	return PAL_CALL(12, index, PAL_POINTER(memory));
}
static inline uint32_t tv_pcr_read(uint32_t index, void *digest)
{
	return PAL_CALL(13, index, PAL_POINTER(digest));
}
static inline uint32_t tv_pcr_extend(uint32_t index, const void *digest)
{
	return PAL_CALL(14, index, PAL_POINTER(digest));
}
static inline uint32_t tv_seal(const void *data, uint32_t size, const void *info, uint32_t info_size, void *blob, uint32_t *blob_size)
{
	return PAL_CALL(15, PAL_POINTER(data), size, PAL_POINTER(info), info_size, PAL_POINTER(blob), PAL_POINTER(blob_size));
}
static inline uint32_t tv_unseal(const void *blob, uint32_t blob_size, void *data, uint32_t *size, void *digest_at_creation)
{
	return PAL_CALL(16, PAL_POINTER(blob), blob_size, PAL_POINTER(data), PAL_POINTER(size), PAL_POINTER(digest_at_creation));
}
static inline uint32_t tv_quote(const void *selection, uint32_t selection_size, const void *nonce, void *signature,
				uint32_t *signature_size, void *composite, uint32_t *composite_size)
{
	return PAL_CALL(17, PAL_POINTER(selection), selection_size, PAL_POINTER(nonce), PAL_POINTER(signature),
			PAL_POINTER(signature_size), PAL_POINTER(composite), PAL_POINTER(composite_size));
}
static inline uint32_t tv_id_getpub(void *out, uint32_t *size)
{
	return PAL_CALL(18, PAL_POINTER(out), PAL_POINTER(size));
}
static inline uint32_t counter_read(uint64_t *value)
{
	return PAL_CALL(19, PAL_POINTER(value));
}
static inline uint32_t counter_increment(uint64_t *value)
{
	return PAL_CALL(20, PAL_POINTER(value));
}
static inline uint32_t tpmnvram_getsize(uint32_t *size)
{
	return PAL_CALL(21, PAL_POINTER(size));
}
static inline uint32_t tpmnvram_readall(void *data)
{
	return PAL_CALL(22, PAL_POINTER(data));
}
static inline uint32_t tpmnvram_writeall(const void *data)
{
	return PAL_CALL(23, PAL_POINTER(data));
}
static inline uint32_t seal_data(const struct pal_seal_policy *policy, const void *data, uint32_t size, const void *extra,
				 uint32_t extra_size, void *blob, uint32_t *blob_size)
{
	return PAL_CALL(24, PAL_POINTER(policy), PAL_POINTER(data), size, PAL_POINTER(extra), extra_size, PAL_POINTER(blob),
			PAL_POINTER(blob_size));
}
static inline uint32_t unseal_data(const void *blob, uint32_t blob_size, const void *extra, uint32_t extra_size, void *data,
				   uint32_t *size, struct pal_sealed_info *info)
{
	return PAL_CALL(25, PAL_POINTER(blob), blob_size, PAL_POINTER(extra), extra_size, PAL_POINTER(data), PAL_POINTER(size),
			PAL_POINTER(info));
}

#else
#error "PALs are built for x86-64 or for WebAssembly"
#endif

#endif
