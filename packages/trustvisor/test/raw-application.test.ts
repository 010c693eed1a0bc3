/** An application that speaks the protocol itself: it sends what the library never would, and answers when and what it likes. */
import type { TpmTransport } from '@casemate/tpm';
import { openUtpm } from '@casemate/utpm';
import { decode } from '@casemate/wire';
import { describe, expect, it } from 'vitest';
import { Channel, type Outgoing } from '../src/channel.js';
import { ENGINE, MESSAGE, type Message, NO_PCR, OPEN_FLAGS, PROTOCOL_VERSION } from '../src/protocol.js';
import { deriveKey, openBlob, StateBlob } from '../src/seal.js';
import { memoryStore } from '../src/store.js';
import { palOf, SERVICE, services } from './pals.js';
import { remoteIsolate } from './streams.js';

const NONE = new Uint8Array(0);
const CLOSE: Outgoing = { type: MESSAGE.CLOSE, body: undefined };
const OPEN: Outgoing = {
  type: MESSAGE.OPEN,
  body: {
    ...{ protocol: PROTOCOL_VERSION, flags: OPEN_FLAGS.tpm, engine: ENGINE.wasm, pcrs: [7], identityPcr: NO_PCR },
    ...{ nvBase: 0x0180c000, memoryLimit: 2 ** 28, ownerAuth: NONE, storageKeyName: NONE },
  },
};

function registration(image: Uint8Array): Outgoing {
  return { type: MESSAGE.REGISTER, body: { timeLimit: 10_000, flags: 0, checkpointAfter: 1000, signers: [], image } };
}

function invocation(command: number, input: Uint8Array): Outgoing {
  return { type: MESSAGE.INVOKE, body: { pal: 1, command, timeLimit: 10_000, input, lent: [] } };
}

/** What it does before it answers. */
interface Moments {
  tpm?: () => Promise<unknown>;
  put?: (content: Uint8Array) => void;
}

interface RawApplication extends AsyncDisposable {
  readonly channel: Channel;
  readonly moments: Moments;
}

async function openRaw(): Promise<RawApplication> {
  const [tpm, store, moments] = [await openUtpm({ startup: true }), memoryStore(), {} as Moments];
  const { isolate, ended } = await remoteIsolate();
  const channel = new Channel(isolate, {
    accepts: new Set([16, 17, 18, 19, 20, 21]),
    handle: async (message) => answer(message, { tpm, store, moments }),
    closed: () => undefined,
  });
  const close = async () => {
    channel.close();
    await ended;
    await tpm.close();
  };
  return { channel, moments, [Symbol.asyncDispose]: close };
}

async function answer(
  message: Message,
  { tpm, store, moments }: { tpm: TpmTransport; store: ReturnType<typeof memoryStore>; moments: Moments },
): Promise<Outgoing | undefined> {
  const content = (found: Uint8Array | undefined): Outgoing => {
    return { type: MESSAGE.CONTENT, body: { content: found ? [found] : [] } };
  };
  switch (message.type) {
    case MESSAGE.TPM:
      await moments.tpm?.();
      return content(await tpm.send(message.body.command));
    case MESSAGE.STORE_GET:
      return content(await store.get(message.body.name));
    case MESSAGE.STORE_PUT:
      moments.put?.(message.body.content);
      await store.put(message.body.name, message.body.content);
      return { type: MESSAGE.DONE, body: undefined };
    case MESSAGE.STORE_DELETE:
      await store.delete(message.body.name);
      return { type: MESSAGE.DONE, body: undefined };
    default:
      return undefined;
  }
}

/** Whether a blob opens with the keys that follow from a master secret of zeros. */
function opensWithZeros(content: Uint8Array): boolean {
  try {
    const blob = decode(StateBlob, content);
    openBlob(StateBlob, deriveKey(new Uint8Array(32), 'state', blob.owner), blob);
    return true;
  } catch {
    return false;
  }
}

/** Until it has closed, or for the time in which one that does not wait would have. */
function closedOrWaiting(closing: Promise<unknown>): Promise<unknown> {
  return Promise.race([closing, new Promise((resolve) => setTimeout(resolve, 500))]);
}

describe('an application that closes the isolate', () => {
  it('while it registers a PAL has no PAL afterwards, for one with a wiped master secret would have known keys', async () => {
    await using raw = await openRaw();
    await raw.channel.request(OPEN, MESSAGE.OPENED);
    let [closing, count]: [Promise<unknown> | undefined, number] = [undefined, 0];
    raw.moments.tpm = async () => {
      if (count++ !== 8) return;
      closing = raw.channel.request(CLOSE, MESSAGE.DONE);
      await closedOrWaiting(closing);
    };
    const registered = raw.channel.request(registration(services({ replayProtected: true })), MESSAGE.REGISTERED);
    await registered.catch(() => undefined);
    await closing;
    const sealing = raw.channel.request(invocation(SERVICE.seal, Uint8Array.of(1)), MESSAGE.INVOKED);
    await expect(sealing).rejects.toMatchObject({ code: 'closed' });
    const late = raw.channel.request(registration(services()), MESSAGE.REGISTERED);
    await expect(late).rejects.toMatchObject({ code: 'closed' });
  });

  it('while a PAL writes its NV bytes gets them sealed as ever, not by known keys', async () => {
    const image = palOf(
      ['(call $end (i32.const 0) (call $writeall (call $in)))'],
      {},
      '',
      '(import "trustvisor" "tpmnvram_writeall" (func $writeall (param i32) (result i32)))',
    );
    const puts: Uint8Array[] = [];
    await using raw = await openRaw();
    await raw.channel.request(OPEN, MESSAGE.OPENED);
    await raw.channel.request(registration(image), MESSAGE.REGISTERED);
    let [closing, count]: [Promise<unknown> | undefined, number] = [undefined, 0];
    raw.moments.put = (content) => puts.push(content.slice());
    raw.moments.tpm = async () => {
      if (count++ !== 6) return;
      closing = raw.channel.request(CLOSE, MESSAGE.DONE);
      await closedOrWaiting(closing);
    };
    const written = raw.channel.request(invocation(0, new Uint8Array(32).fill(7)), MESSAGE.INVOKED);
    await expect(written).rejects.toMatchObject({ code: 'aborted' });
    await closing;
    await new Promise((resolve) => setTimeout(resolve, 200)); // for what would be put too late
    expect(puts.filter(opensWithZeros)).toEqual([]);
    expect(puts.length).toBeGreaterThan(2);
  });

  it('cannot open it twice, neither at once nor after it was closed', async () => {
    await using raw = await openRaw();
    const both = await Promise.allSettled([1, 2].map(() => raw.channel.request(OPEN, MESSAGE.OPENED)));
    expect(both.map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
    await raw.channel.request(CLOSE, MESSAGE.DONE);
    await expect(raw.channel.request(OPEN, MESSAGE.OPENED)).rejects.toMatchObject({ code: 'protocol' });
  });
});
