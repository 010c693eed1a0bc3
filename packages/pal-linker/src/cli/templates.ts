/** What `pal init` writes. */

/** In AssemblyScript: services are imports, addresses are numbers. */
export const TYPESCRIPT_TEMPLATE = `// NAME: a PAL that counts, and seals its count so that only itself can open it again.
//   command 0   adds the u32 in the input, and returns the sum
//   command 1   puts the sealed count out
//   command 2   opens a sealed count from the input

@external("trustvisor", "utpm_seal")
declare function utpm_seal(data: usize, size: u32, policy: usize, policySize: u32, blob: usize, blobSize: usize): u32;
@external("trustvisor", "utpm_unseal")
declare function utpm_unseal(blob: usize, blobSize: u32, data: usize, size: usize, creation: usize): u32;

/** A buffer of the caller's: this header, then the data. */
@unmanaged
class Buffer {
  returnValue: u32;
  size: u32;
  offset: u32;
  sizeUsed: u32;
}

const BAD_PARAM: u32 = 1;
let count: u32 = 0;

export function pal(command: u32, input: Buffer, output: Buffer, rv: usize): void {
  store<u32>(rv, run(command, input, output));
}

function run(command: u32, input: Buffer, output: Buffer): u32 {
  const given = changetype<usize>(input) + offsetof<Buffer>();
  const result = changetype<usize>(output) + offsetof<Buffer>();
  if (command == 0) {
    if (input.sizeUsed >= 4) count += load<u32>(given);
    return count;
  }
  // Services take addresses: one word for the count, and one for a length.
  const words = new StaticArray<u32>(2);
  const data = changetype<usize>(words);
  const length = data + 4;
  if (command == 1) {
    store<u32>(data, count);
    store<u32>(length, output.size);
    const status = utpm_seal(data, 4, 0, 0, result, length);
    if (status == 0) output.offset = load<u32>(length);
    return status;
  }
  if (command == 2) {
    store<u32>(length, 4);
    const status = utpm_unseal(given, input.sizeUsed, data, length, 0);
    if (status == 0) count = load<u32>(data);
    return status;
  }
  return BAD_PARAM;
}
`;

/** In C, for both engines. */
export const C_TEMPLATE = `/*
 * NAME: a PAL that counts, and seals its count so that only itself can open it again.
 *   command 0   adds the u32 in the input, and returns the sum
 *   command 1   puts the sealed count out
 *   command 2   opens a sealed count from the input
 */
#include "casemate-pal.h"

static uint32_t count;

static uint32_t add(const struct pal_buffer *in)
{
	uint32_t amount = 0;
	if (in->size_used >= sizeof amount)
		__builtin_memcpy(&amount, in->data, sizeof amount);
	count += amount;
	return count;
}

static uint32_t seal(struct pal_buffer *out)
{
	uint32_t size = out->size;
	uint32_t status = utpm_seal(&count, sizeof count, 0, 0, out->data, &size);
	if (status == PAL_SUCCESS)
		out->offset = size;
	return status;
}

static uint32_t unseal(const struct pal_buffer *in)
{
	uint32_t value, size = sizeof value;
	uint32_t status = utpm_unseal(in->data, in->size_used, &value, &size, 0);
	if (status == PAL_SUCCESS)
		count = value;
	return status;
}

void pal(uint32_t command, struct pal_buffer *in, struct pal_buffer *out, uint32_t *rv)
{
	switch (command) {
	case 0:
		*rv = add(in);
		return;
	case 1:
		*rv = seal(out);
		return;
	case 2:
		*rv = unseal(in);
		return;
	default:
		*rv = PAL_BAD_PARAM;
	}
}
`;
