/** TPM commands as bytes, made before anything is timed, and a bare connection for them: nothing of a client library is measured. */
import { createConnection, type Socket } from 'node:net';
import type { AnyCommand, CommandRequest, CommandResponse } from '@casemate/tpm';
import { Reader, Writer } from '@casemate/wire';

/** Sends the bytes of a command, resolves to the bytes of the response. */
export type Send = (command: Uint8Array) => Promise<Uint8Array>;

const HEADER = 10;
const NO_SESSIONS = 0x8001;
const SESSIONS = 0x8002;
const PASSWORD = 0x40000009;

/** An authorization: a session's handle with its attributes, and no HMAC. The empty password is `{}`. */
interface Authorization {
  readonly session?: number;
  readonly attributes?: number;
}

/** The bytes of a command, its handles authorised by the empty password unless `authorizations` say otherwise. */
export function commandBytes<C extends AnyCommand>(
  command: C,
  request: CommandRequest<C>,
  authorizations: readonly Authorization[] = command.handles.filter(({ auth }) => auth !== 'none').map(() => ({})),
): Uint8Array {
  const values = request as Readonly<Record<string, unknown>>; // names and types are those of the command's own fields
  const writer = new Writer();
  writer.u16(authorizations.length > 0 ? SESSIONS : NO_SESSIONS, 'tag');
  writer.u32(0, 'commandSize');
  writer.u32(command.code, 'commandCode');
  for (const { name } of command.handles) writer.u32(Number(values[name]), name);
  if (authorizations.length > 0) writer.u32(9 * authorizations.length, 'authorizationSize');
  for (const { session = PASSWORD, attributes = 1 } of authorizations) {
    writer.u32(session, 'sessionHandle');
    writer.u16(0, 'nonce');
    writer.u8(attributes, 'sessionAttributes');
    writer.u16(0, 'hmac');
  }
  command.parameters.write(writer, values);
  const bytes = writer.finish();
  new DataView(bytes.buffer).setUint32(2, bytes.length);
  return bytes;
}

/** Sends `bytes` and refuses any response that is not a success, so that failures are never timed as work. */
export async function succeed(send: Send, bytes: Uint8Array): Promise<Uint8Array> {
  const response = await send(bytes);
  const code = u32(response, 6);
  if (code !== 0) throw new Error(`command 0x${u32(bytes, 6).toString(16)} was answered with 0x${code.toString(16)}`);
  return response;
}

/** Decodes the response to `command`. */
export function responseOf<C extends AnyCommand>(command: C, bytes: Uint8Array): CommandResponse<C> {
  const reader = new Reader(bytes.slice());
  const tag = reader.u16('tag');
  reader.take(HEADER - 2, 'header');
  const values: Record<string, unknown> = {};
  for (const { name } of command.responseHandles) values[name] = reader.u32(name);
  const size = tag === SESSIONS ? reader.u32('parameterSize') : reader.remaining;
  const parameters = new Reader(reader.take(size, 'parameters'));
  Object.assign(values, command.response.read(parameters));
  parameters.finish(command.name);
  return values as CommandResponse<C>; // made by the command's own codecs
}

/** The handle that a response begins with. */
export function handleOf(response: Uint8Array): number {
  return u32(response, HEADER);
}

/** Puts `handle` into a prepared command, at its first handle unless another offset is given. */
export function withHandle(command: Uint8Array, handle: number, offset: number = HEADER): Uint8Array {
  new DataView(command.buffer, command.byteOffset).setUint32(offset, handle);
  return command;
}

function u32(bytes: Uint8Array, offset: number): number {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(offset);
}

/** A connection to a TPM server's data channel, one command in flight; the same for every server. */
export async function openChannel(port: number): Promise<{ readonly send: Send; close(): void }> {
  const socket = await connect(port);
  let buffered: Uint8Array = new Uint8Array(0);
  let waiting: { resolve(response: Uint8Array): void; reject(error: Error): void } | undefined;
  socket.on('data', (chunk: Uint8Array) => {
    buffered = buffered.length === 0 ? chunk : Buffer.concat([buffered, chunk]);
    if (buffered.length < HEADER || buffered.length < u32(buffered, 2)) return;
    const response = buffered;
    buffered = new Uint8Array(0);
    waiting?.resolve(response);
  });
  socket.on('close', () => waiting?.reject(new Error('the server closed the connection')));
  const send: Send = (command) =>
    new Promise((resolve, reject) => {
      waiting = { resolve, reject };
      socket.write(command);
    });
  return { send, close: () => void socket.destroy() };
}

function connect(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = createConnection({ host: '127.0.0.1', port }, () => resolve(socket.setNoDelay(true)));
    socket.once('error', reject);
  });
}
