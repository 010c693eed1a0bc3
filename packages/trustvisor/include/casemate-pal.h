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

#else
#error "PALs are built for x86-64 or for WebAssembly"
#endif

#endif
