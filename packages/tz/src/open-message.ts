/** The message that opens a session at a service: who asks, then what the client encoded; WIRE.md, "Opening and closing". */
import type { Login, ServiceChannel, ServiceReply } from './driver.js';
import { TzError } from './error.js';
import { Decoder, encodeBuffer } from './marshal.js';
import { TZ_LOGIN, TZ_RETURN } from './return-code.js';

/** The open message: UINT32 login flags, ARRAY login data (NULL for none), then the records of `input`. */
export function encodeOpen(login: Login, input: Uint8Array, capacity: number): Uint8Array {
  const data = login.type === 'CLIENT_DATA' ? login.data : null;
  return encodeBuffer([loginFlags(login), data, ...new Decoder(input).rest()], capacity);
}

/** A service without a handler for open and close has accepted; WIRE.md, "Opening and closing". */
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

function loginFlags(login: Login): number {
  if (login.type in TZ_LOGIN) return TZ_LOGIN[login.type];
  throw new TzError(
    'TZ_ERROR_NOT_IMPLEMENTED',
    'device',
    `open a session: expected login PUBLIC or CLIENT_DATA, got ${login.type}`,
  );
}
