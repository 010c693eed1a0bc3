/** A DNS server on loopback that knows what it is told (RFC 1035): every name is at 127.0.0.1, and has the TXT records it was given. */
import { createSocket } from 'node:dgram';
import type { AddressInfo } from 'node:net';

/** A running server. */
export interface RunningDns extends AsyncDisposable {
  /** `127.0.0.1:port`. */
  readonly server: string;
  /** The TXT records by name. */
  readonly records: Map<string, string>;
}

export async function startDns(): Promise<RunningDns> {
  const socket = createSocket('udp4');
  const records = new Map<string, string>();
  socket.on('message', (question, peer) => socket.send(answer(question, records), peer.port, peer.address));
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  const { port } = socket.address() as AddressInfo;
  return {
    server: `127.0.0.1:${port}`,
    records,
    [Symbol.asyncDispose]: () => new Promise((resolve) => socket.close(() => resolve())),
  };
}

function answer(question: Buffer, records: ReadonlyMap<string, string>): Buffer {
  const labels: string[] = [];
  let offset = 12;
  while (question[offset] !== 0) {
    const length = question[offset] ?? 0;
    labels.push(question.toString('latin1', offset + 1, offset + 1 + length));
    offset += 1 + length;
  }
  const end = offset + 5;
  const type = question.readUInt16BE(offset + 1);
  const record = records.get(labels.join('.').toLowerCase());
  const txt = record === undefined ? undefined : Buffer.concat([Buffer.of(record.length), Buffer.from(record)]);
  const data = type === 1 ? Buffer.of(127, 0, 0, 1) : type === 16 ? txt : undefined;
  const head = Buffer.from(question.subarray(0, 12));
  head.writeUInt16BE(type === 16 && txt === undefined ? 0x8183 : 0x8180, 2);
  head.writeUInt16BE(data === undefined ? 0 : 1, 6);
  head.writeUInt32BE(0, 8);
  if (data === undefined) return Buffer.concat([head, question.subarray(12, end)]);
  const fixed = Buffer.alloc(12);
  fixed.writeUInt16BE(0xc00c, 0);
  fixed.writeUInt16BE(type, 2);
  fixed.writeUInt16BE(1, 4);
  fixed.writeUInt16BE(data.length, 10);
  return Buffer.concat([head, question.subarray(12, end), fixed, data]);
}
