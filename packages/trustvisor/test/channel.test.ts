import { once } from 'node:events';
import { MAX_IMAGE_BYTES } from '@casemate/pal-linker';
import { decode, encode } from '@casemate/wire';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Channel, type ChannelRole } from '../src/channel.js';
import { TrustvisorError } from '../src/error.js';
import { MAX_CARRIED, MAX_DATA, MAX_FRAME, MESSAGE, Message } from '../src/protocol.js';
import { socketPair } from './streams.js';

const DONE = { type: MESSAGE.DONE, body: undefined } as const;
const get = (name: string) => ({ type: MESSAGE.STORE_GET, body: { name } }) as const;

function role(more: Partial<ChannelRole> = {}): ChannelRole {
  return { accepts: new Set(), handle: async () => DONE, closed: () => undefined, ...more };
}

function frame(content: Uint8Array): Uint8Array {
  const out = new Uint8Array(4 + content.length);
  new DataView(out.buffer).setUint32(0, content.length);
  out.set(content, 4);
  return out;
}

const messages: fc.Arbitrary<Message> = fc.oneof(
  fc.record({
    type: fc.constant(MESSAGE.INVOKE),
    id: fc.nat(),
    body: fc.record({
      ...{ pal: fc.nat(), command: fc.nat(), timeLimit: fc.nat(), input: fc.uint8Array({ maxLength: 50 }) },
      lent: fc.array(
        fc.record({
          ...{ access: fc.constantFrom(1 as const, 2 as const, 3 as const), at: fc.nat(), length: fc.nat() },
          content: fc.array(fc.uint8Array({ maxLength: 9 }), { maxLength: 1 }),
        }),
        { maxLength: 3 },
      ),
    }),
  }),
  fc.record({
    type: fc.constant(MESSAGE.CONTENT),
    id: fc.nat(),
    body: fc.record({ content: fc.array(fc.uint8Array({ maxLength: 20 }), { maxLength: 1 }) }),
  }),
  fc.record({
    type: fc.constant(MESSAGE.FAILED),
    id: fc.nat(),
    body: fc.record({ code: fc.nat(255), fault: fc.nat(255), message: fc.string({ maxLength: 20 }) }),
  }),
);

describe('a message', () => {
  it('decodes to what was encoded, and is refused when cut at any byte or extended', () => {
    fc.assert(
      fc.property(messages, (message) => {
        const bytes = encode(Message, message);
        expect(decode(Message, bytes)).toEqual(message);
        for (let length = 0; length < bytes.length; length++) {
          expect(() => decode(Message, bytes.subarray(0, length))).toThrow();
        }
        expect(() => decode(Message, Uint8Array.of(...bytes, 0))).toThrow();
      }),
    );
  });
});

describe('a channel', () => {
  it('brings replies to their requests in any order, and failures as the errors that they were', async () => {
    const [near, far] = await socketPair();
    const client = new Channel(near, role());
    new Channel(
      far,
      role({
        accepts: new Set([MESSAGE.STORE_GET]),
        handle: async (message) => {
          const name = message.type === MESSAGE.STORE_GET ? message.body.name : '';
          if (name === 'bad') throw new TrustvisorError('fault', 'it trapped', { fault: 'division' });
          if (name === 'odd') throw new Error('a plain error');
          await new Promise((resolve) => setTimeout(resolve, name === 'slow' ? 100 : 1));
          return { type: MESSAGE.CONTENT, body: { content: [new TextEncoder().encode(name)] } };
        },
      }),
    );
    const names = ['slow', 'quick'];
    const replies = await Promise.all(names.map((name) => client.request(get(name), MESSAGE.CONTENT)));
    expect(replies.map(({ body }) => new TextDecoder().decode(body.content[0]))).toEqual(names);
    await expect(client.request(get('bad'), MESSAGE.CONTENT)).rejects.toMatchObject({
      code: 'fault',
      fault: 'division',
    });
    await expect(client.request(get('odd'), MESSAGE.CONTENT)).rejects.toMatchObject({
      code: 'refused',
      fault: undefined,
    });
    client.close();
    await expect(client.request(get('late'), MESSAGE.CONTENT)).rejects.toMatchObject({ code: 'closed' });
  });

  it('takes frames in pieces of any size', async () => {
    const [near, far] = await socketPair();
    const seen: string[] = [];
    new Channel(
      far,
      role({
        accepts: new Set([MESSAGE.STORE_GET]),
        handle: async (message) => {
          if (message.type === MESSAGE.STORE_GET) seen.push(message.body.name);
          return undefined;
        },
      }),
    );
    const names = ['a', 'bb', 'ccc'];
    const bytes = Buffer.concat(names.map((name) => frame(encode(Message, { ...get(name), id: 1 }))));
    near.setNoDelay(true);
    for (const byte of bytes) {
      near.write(Uint8Array.of(byte));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await expect.poll(() => seen).toEqual(names);
    near.destroy();
  });

  const attacks: readonly [string, Uint8Array][] = [
    ['a frame that claims more than the limit', Uint8Array.of(...new Uint8Array(new Uint32Array([0xffffffff]).buffer))],
    ['an empty frame', frame(new Uint8Array(0))],
    ['an unknown type', frame(Uint8Array.of(99, 0, 0, 0, 1))],
    ['a type that does not go this way', frame(encode(Message, { type: MESSAGE.CLOSE, id: 1, body: undefined }))],
    ['a reply to nothing', frame(encode(Message, { ...DONE, id: 7 }))],
    ['trailing bytes', frame(Uint8Array.of(...encode(Message, { ...get('a'), id: 1 }), 0))],
  ];
  it.each(attacks)('ends when the other end sends %s', async (_, bytes) => {
    const [near, far] = await socketPair();
    const closed = new Promise<TrustvisorError>((resolve) => {
      new Channel(far, role({ accepts: new Set([MESSAGE.STORE_GET]), closed: resolve }));
    });
    near.on('error', () => undefined);
    near.write(bytes);
    expect(await closed).toMatchObject({ name: 'TrustvisorError', code: 'protocol' });
    near.destroy();
  });

  it('ends rather than take the wrong kind of reply', async () => {
    const [near, far] = await socketPair();
    const client = new Channel(near, role());
    new Channel(far, role({ accepts: new Set([MESSAGE.STORE_GET]) }));
    await expect(client.request(get('a'), MESSAGE.CONTENT)).rejects.toMatchObject({ code: 'protocol' });
  });

  it('fails what is outstanding when the other end is gone', async () => {
    const [near, far] = await socketPair();
    const client = new Channel(near, role());
    const reply = client.request(get('a'), MESSAGE.CONTENT);
    far.destroy();
    await expect(reply).rejects.toMatchObject({ code: 'closed' });
  });

  it('survives random bytes: it ends with an error of its own', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 200 }), async (noise) => {
        const [near, far] = await socketPair();
        const closed = new Promise<TrustvisorError>((resolve) => {
          new Channel(far, role({ accepts: new Set([MESSAGE.STORE_GET]), closed: resolve }));
        });
        near.on('error', () => undefined);
        near.end(noise);
        expect((await closed).code).toMatch(/protocol|closed/);
        near.destroy();
      }),
      { numRuns: 100 },
    );
  });

  it('refuses to send what does not fit a message, any number of times, and goes on', async () => {
    const [near, far] = await socketPair();
    const client = new Channel(near, role());
    new Channel(far, role({ accepts: new Set([MESSAGE.STORE_GET]) }));
    for (let i = 0; i < 1100; i++) {
      await expect(client.request(get('x'.repeat(200)), MESSAGE.DONE)).rejects.toMatchObject({ code: 'input' });
    }
    const ranges = [1, 2].map(
      () => ({ access: 1, at: 0, length: 0, content: [new Uint8Array(MAX_FRAME / 2)] }) as const,
    );
    const body = { pal: 1, command: 0, timeLimit: 1, input: new Uint8Array(0), lent: ranges };
    await expect(client.request({ type: MESSAGE.INVOKE, body }, MESSAGE.DONE)).rejects.toMatchObject({ code: 'input' });
    await client.request(get('a'), MESSAGE.DONE);
    client.close();
  });

  it('says of an answer that does not fit a message that it failed, and answers the next', async () => {
    const [near, far] = await socketPair();
    const client = new Channel(near, role());
    const handle: ChannelRole['handle'] = async (message) => {
      const length = message.type === MESSAGE.STORE_GET && message.body.name === 'large' ? 2 ** 22 : 3;
      return { type: MESSAGE.CONTENT, body: { content: [new Uint8Array(length)] } };
    };
    new Channel(far, role({ accepts: new Set([MESSAGE.STORE_GET]), handle }));
    await expect(client.request(get('large'), MESSAGE.CONTENT)).rejects.toMatchObject({ code: 'memory' });
    expect((await client.request(get('small'), MESSAGE.CONTENT)).body.content[0]).toHaveLength(3);
    client.close();
  });

  it('answers nothing to what asks for no reply, also where it fails', async () => {
    const [near, far] = await socketPair();
    const client = new Channel(near, role());
    const handle: ChannelRole['handle'] = async (message) => {
      if (message.id === 0) throw new Error('a mistake of whoever is told');
      return DONE;
    };
    new Channel(far, role({ accepts: new Set([MESSAGE.STORE_GET]), handle }));
    client.notify(get('a'));
    await client.request(get('b'), MESSAGE.DONE);
    client.close();
  });

  it('is closed at once where the stream had ended before', async () => {
    const [near] = await socketPair();
    near.destroy();
    await once(near, 'close');
    const closed = new Promise<TrustvisorError>((resolve) => {
      const client = new Channel(near, role({ closed: resolve }));
      expect(client.isEnded).toBe(false);
    });
    expect((await closed).code).toBe('closed');
    const late = new Channel(near, role());
    await expect(late.request(get('a'), MESSAGE.DONE)).rejects.toMatchObject({ code: 'closed' });
  });

  it('has room for the largest image, or a megabyte and what a call is lent, and no more', () => {
    expect(MAX_FRAME).toBeGreaterThan(MAX_CARRIED + MAX_DATA);
    expect(MAX_FRAME).toBeGreaterThan(MAX_IMAGE_BYTES);
    expect(MAX_FRAME).toBeLessThan(18 * 1024 * 1024);
  });
});
