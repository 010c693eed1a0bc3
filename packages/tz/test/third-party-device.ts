/**
 * A device of somebody else, made from what the package exports: it runs its service behind a stream of messages, has no shared memory, and
 * a manager that only lists. What it does not have answers `TZ_ERROR_NOT_IMPLEMENTED`.
 */
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import {
  credentialRecords,
  credentialsOf,
  Decoder,
  type DeviceConnection,
  type DeviceDriver,
  Encoder,
  encodeBuffer,
  mandatoryProperties,
  type ServiceChannel,
  TZ_COMMAND,
  TzError,
  uuid,
} from '../src/index.js';

/** The one service, which adds: it answers the sum of the integers that it gets, and how many sessions it has had. */
export const ADDER = uuid('0e0a7b1c-55c2-4d0c-9b8e-3a1f5d6c7b8a');

interface Request {
  readonly id: number;
  readonly command: number;
  readonly input: Uint8Array;
}
interface Answer {
  readonly id: number;
  readonly returnCode: number;
  readonly output: Uint8Array;
}

/** The driver; `cut` ends the connection to the service as a crash would. */
export function remoteDriver(): DeviceDriver & { readonly cut: () => void } {
  let ports: MessageChannel | undefined;
  return {
    name: 'remote',
    open: async () => {
      ports = new MessageChannel();
      serveAdder(ports.port2);
      return connection(ports.port1);
    },
    cut: () => ports?.port2.close(),
  };
}

function connection(port: MessagePort): DeviceConnection {
  const waiting = new Map<number, { resolve(answer: Answer): void; reject(error: Error): void }>();
  port.on('message', (answer: Answer) => {
    waiting.get(answer.id)?.resolve(answer);
    waiting.delete(answer.id);
  });
  let isOpen = true;
  port.on('close', () => {
    isOpen = false;
    for (const { reject } of waiting.values()) reject(new Error('the remote end is gone'));
  });
  let next = 0;
  const ask = (command: number, input: Uint8Array) =>
    new Promise<Answer>((resolve, reject) => {
      if (!isOpen) return reject(new Error('the remote end is gone'));
      const id = next++;
      waiting.set(id, { resolve, reject });
      port.postMessage({ id, command, input } satisfies Request);
    });
  return {
    capacityOf: () => 256,
    openManager: async () => ({
      list: async () => [ADDER],
      properties: async () => mandatoryProperties({ uuid: ADDER, name: 'adder', vendor: 'somebody else' }),
      download: refuse,
      remove: refuse,
    }),
    openSession: async (service, login, input) => {
      if (service !== ADDER) throw new TzError('TZ_ERROR_ACCESS_DENIED', 'device', `find service ${service}: got none`);
      const records = credentialRecords(await credentialsOf(login));
      const reply = await ask(TZ_COMMAND.OPEN, encodeBuffer([...records, ...new Decoder(input).rest()]));
      const channel: ServiceChannel = {
        reply,
        invoke: (command, message) => ask(command, message),
        close: async () => void (await ask(TZ_COMMAND.CLOSE, encodeBuffer([]))),
      };
      return channel;
    },
    close: async () => port.close(),
  };
}

async function refuse(): Promise<never> {
  throw new TzError(
    'TZ_ERROR_NOT_IMPLEMENTED',
    'device',
    'change services: expected a device that can, got a fixed one',
  );
}

/** The far end. */
function serveAdder(port: MessagePort): void {
  let sessions = 0;
  port.on('message', ({ id, command, input }: Request) => {
    const output = new Encoder(256);
    if (command === TZ_COMMAND.OPEN) sessions++;
    else if (command !== TZ_COMMAND.CLOSE) {
      const decoder = new Decoder(input);
      let sum = 0;
      while (decoder.type === 'UINT32') sum += decoder.uint32();
      output.uint32(sum >>> 0);
      output.uint32(sessions);
    }
    const answer: Answer = { id, returnCode: command === 99 ? 4711 : 0, output: output.finish() };
    port.postMessage(answer);
  });
}
