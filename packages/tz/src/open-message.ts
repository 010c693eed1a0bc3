/** The message that opens a session at a service: who asks, then what the client encoded; WIRE.md, "Reserved commands". */
import type { ServiceChannel, ServiceReply } from './driver.js';
import { TzError } from './error.js';
import { type Credentials, credentialRecords } from './login.js';
import { Decoder, encodeBuffer } from './marshal.js';
import { TZ_RETURN } from './return-code.js';

/** The open message: the credentials, then the records of `input`. */
export function encodeOpen(credentials: Credentials, input: Uint8Array, capacity: number): Uint8Array {
  return encodeBuffer([...credentialRecords(credentials), ...new Decoder(input).rest()], capacity);
}

/** A service without a handler for open and close has accepted; WIRE.md, "Reserved commands". */
export function acceptMissingHandler(reply: ServiceReply): ServiceReply {
  if (reply.returnCode !== TZ_RETURN.TZ_ERROR_NOT_IMPLEMENTED) return reply;
  return { returnCode: 0, output: encodeBuffer([]) };
}

/** A channel that carries only the refusal. */
export function refusedChannel(reply: ServiceReply): ServiceChannel {
  const refuse = async () => {
    throw new TzError(
      'TZ_ERROR_ILLEGAL_STATE',
      'device',
      'call a service: expected an open session, got a refused one',
    );
  };
  return { reply, invoke: refuse, close: refuse };
}
