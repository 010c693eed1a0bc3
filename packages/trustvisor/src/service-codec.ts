/**
 * Service calls from the monitor of a PAL's machine, and replies to it, as bytes. Little-endian.
 *
 * A call is an octet, the service's number, and its slots (service-plan.ts), each an octet (0 a number, 1 bytes, 2 an output, which
 * carries nothing) and what belongs to it. A reply is u32 status and, with success, the outputs, each behind its u32 length.
 */
import { PAL_SERVICES, type PalServiceName } from '@casemate/pal-linker';
import { TrustvisorError } from './error.js';
import { SERVICE_SLOTS, type ServiceCall, type ServiceReply } from './service-plan.js';

const NAMES = Object.keys(PAL_SERVICES) as PalServiceName[]; // the keys of a Record of that type

/** Reads a call; what it gives are copies. Throws {@link TrustvisorError} with code `protocol`, or a RangeError where it ends early. */
export function decodeCall(content: Uint8Array): ServiceCall {
  const name = NAMES[(content[0] ?? 0) - 1];
  if (name === undefined) throw new TrustvisorError('protocol', `read a service call: no service ${content[0]}`);
  const view = viewOf(content);
  const values: number[] = [];
  const inputs: Uint8Array[] = [];
  let at = 1;
  for (const _slot of SERVICE_SLOTS[name]) {
    const kind = content[at++];
    if (kind === 2) continue;
    const number = view.getUint32(at, true);
    at += 4;
    if (kind === 0) values.push(number);
    else {
      inputs.push(new Uint8Array(content.subarray(at, at + number)));
      at += number;
    }
  }
  return { name, values, inputs };
}

/** How many bytes a reply takes. */
export function replyLength({ status, outputs }: ServiceReply): number {
  return status === 0 ? outputs.reduce((sum, { length }) => sum + 4 + length, 4) : 4;
}

/** Puts a reply into `target`, which has room for it. */
export function encodeReplyInto({ status, outputs }: ServiceReply, target: Uint8Array): void {
  const view = viewOf(target);
  view.setUint32(0, status, true);
  let at = 4;
  for (const output of status === 0 ? outputs : []) {
    view.setUint32(at, output.length, true);
    target.set(output, at + 4);
    at += 4 + output.length;
  }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
