/** Recording, reading recordings, explaining and replaying them. */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encode } from '@casemate/wire';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  commands,
  createPrimary,
  encodeCommand,
  GetRandom,
  loadKey,
  nobleCrypto,
  nvDefine,
  nvRead,
  nvWrite,
  PcrRead,
  password,
  pcrSelection,
  readPcrs,
  seal,
  srkTemplate,
  startSession,
  Tpm,
  type TpmCrypto,
  TpmError,
  type TpmTransport,
  unseal,
} from '../src/index.js';
import { tcpPacket } from '../src/recorder/packet.js';
import { spellParameters } from '../src/recorder/spell.js';
import {
  exchangeJson,
  exchangeText,
  explainRecording,
  openRecordingFile,
  parseRecording,
  type RecordedEvent,
  type RecordingSink,
  record,
  replay,
  type Spelled,
} from '../src/recorder.js';
import { connectSwtpm } from '../src/swtpm.js';
import { describeWith, type SwtpmServer, startSwtpm } from './client/swtpm-server.js';
import { recordsOf } from './values.js';

const directory = mkdtempSync(join(tmpdir(), 'casemate-recorder-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** A sink that keeps everything. */
function memorySink(): RecordingSink & { bytes(): Uint8Array } {
  const pieces: Uint8Array[] = [];
  return {
    write: (piece) => void pieces.push(piece.slice()),
    bytes: () => new Uint8Array(Buffer.concat(pieces)),
  };
}

/** A transport that answers with the next of `answers`; a function throws. */
function scripted(answers: readonly (Uint8Array | Error)[]): TpmTransport {
  const left = [...answers];
  return {
    async send() {
      const answer = left.shift();
      if (answer instanceof Uint8Array) return answer;
      throw answer ?? new TpmError('closed', 'the script is at its end');
    },
    close: async () => undefined,
  };
}

const bytesOf = (hex: string): Uint8Array => new Uint8Array(Buffer.from(hex.replaceAll(' ', ''), 'hex'));
const RANDOM_COMMAND = bytesOf('8001 0000000c 0000017b 0004');
const RANDOM_RESPONSE = bytesOf('8001 00000010 00000000 0004 deadbeef');
const LOCKED_OUT = bytesOf('8001 0000000a 00000921');

const text = (bytes: Uint8Array, options: { unsafeShowSecrets?: boolean } = {}): string =>
  explainRecording(parseRecording(bytes), options)
    .map((exchange) => exchangeText(exchange, { full: true }))
    .join('\n');

async function recordedExchange(answers: readonly (Uint8Array | Error)[]): Promise<Uint8Array> {
  const sink = memorySink();
  const transport = record(scripted(answers), sink, { now: () => 1_700_000_000_000_000 });
  for (const _ of answers) await transport.send(RANDOM_COMMAND).catch(() => undefined);
  await transport.close();
  return sink.bytes();
}

describe('hexadecimal text', () => {
  it('decodes commands and responses in turn, whatever separates and marks them', () => {
    const lines =
      '# what tpm2_getrandom does\n> 80 01 00:00:00:0c 0x0000017b 0004\n< 8001000000100000000000 04deadbeef';
    const { format, events } = parseRecording(new TextEncoder().encode(lines));
    expect(format).toBe('hex');
    expect(events.map(({ type }) => type)).toEqual(['command', 'response']);
  });

  it('tells a failure that stands alone from a command', () => {
    const [exchange] = explainRecording(parseRecording(LOCKED_OUT));
    expect(exchange?.command).toBeUndefined();
    expect(exchange?.response?.code.name).toBe('TPM_RC_LOCKOUT');
  });

  it('takes TPM2_GetTestResult and TPM2_ReadClock, which are bare headers, for commands', () => {
    for (const code of ['0000017c', '00000181']) {
      expect(parseRecording(bytesOf(`8001 0000000a ${code}`)).events[0]?.type).toBe('command');
    }
  });

  it('refuses text that is no hexadecimal, and bytes that are no frames', () => {
    for (const bytes of [new TextEncoder().encode('hello'), bytesOf('8001 00000009 0000017b'), new Uint8Array(0)]) {
      expect(() => parseRecording(bytes)).toThrow(TpmError);
    }
  });
});

describe('explaining', () => {
  it('names the argument that a response code blames', () => {
    const [exchange] = explainRecording(
      parseRecording(Buffer.concat([RANDOM_COMMAND, bytesOf('8001 0000000a 000001d5')])),
    );
    expect(exchange?.response?.blames).toBe('parameter 1 (bytesRequested)');
    expect(exchangeText(exchange ?? fail())).toContain('parameter 1 (bytesRequested): ');
  });

  it('tells what is malformed without throwing, and shows none of its bytes', () => {
    // A size in the parameters that is longer than the command.
    const bad = bytesOf('8001 00000010 00000146 ffff 73656372');
    const [exchange] = explainRecording(parseRecording(bad));
    expect(exchange?.command?.problem).toMatch(/inData/);
    expect(JSON.stringify(exchangeJson(exchange ?? fail()))).not.toContain('7365');
  });

  it('leaves out nothing that a command or response of any kind holds', () => {
    for (const command of commands) {
      for (const struct of [command.parameters, command.response] as const) {
        const check = (value: Readonly<Record<string, unknown>>): void => {
          const { parameters, problem } = spellParameters(struct, encode(struct, value), { unsafeShowSecrets: true });
          expect(problem).toBeUndefined();
          expectWhole(value, Object.fromEntries(parameters), command.name);
        };
        fc.assert(fc.property(recordsOf(struct.fields), check), { numRuns: 10 });
      }
    }
  });

  it('shows vendor commands and TPM 1.2 by their code', () => {
    const vendor = encodeCommand({ code: 0x20000001, handles: [], auths: [], parameters: bytesOf('01') });
    expect(text(vendor)).toContain('0x20000001');
    expect(text(bytesOf('00c1 0000000a 00000050'))).toContain('TPM 1.2');
  });

  it('keeps the contract of its JSON', () => {
    const bytes = new Uint8Array(Buffer.concat([RANDOM_COMMAND, RANDOM_RESPONSE]));
    const [exchange] = explainRecording(parseRecording(bytes)).map(exchangeJson);
    expect(exchange).toEqual({
      number: 1,
      connection: 0,
      time: null,
      microseconds: null,
      command: {
        name: 'TPM2_GetRandom',
        code: '0x0000017b',
        size: 12,
        locality: null,
        handles: {},
        sessions: [],
        parameters: { bytesRequested: 4 },
        problem: null,
      },
      response: {
        name: 'TPM_RC_SUCCESS',
        code: '0x00000000',
        size: 16,
        explanation: expect.any(String),
        blames: null,
        handles: {},
        sessions: [],
        parameters: { randomBytes: { redacted: 4 } },
        problem: null,
      },
      error: null,
      control: null,
    });
  });
});

describe('a recording', () => {
  it('gives back commands, responses, failures, times and the end', async () => {
    const bytes = await recordedExchange([RANDOM_RESPONSE, new TpmError('timeout', 'no answer'), new Error('gone')]);
    const { format, events, problems } = parseRecording(bytes);
    expect({ format, problems }).toEqual({ format: 'pcapng', problems: [] });
    expect(events.map(({ type }) => type)).toEqual([
      'command',
      'response',
      'command',
      'error',
      'command',
      'error',
      'control',
    ]);
    expect(events.every(({ time }) => time === 1_700_000_000_000_000)).toBe(true);
    expect(events[3]).toMatchObject({ type: 'error', code: 'timeout', message: 'no answer' });
    expect(events[5]).toMatchObject({ type: 'error', code: 'aborted' });
  });

  it('notes localities and what goes over the control channel', async () => {
    const sink = memorySink();
    const nothing = async (): Promise<void> => undefined;
    const control = { initialize: nothing, setLocality: nothing, cancel: nothing, stop: nothing, shutdown: nothing };
    const transport = record({ ...scripted([RANDOM_RESPONSE]), control }, sink);
    await transport.control.setLocality(3);
    await transport.send(RANDOM_COMMAND, { locality: 2 } as { signal?: AbortSignal });
    const { events } = parseRecording(sink.bytes());
    expect(events[0]).toMatchObject({ type: 'control', action: 'set-locality', argument: 3 });
    expect(events[1]).toMatchObject({ type: 'command', locality: 2 });
  });

  it('does not send what it cannot record, and never loses a response', async () => {
    let writes = 0;
    const sink = {
      write: () => {
        if (++writes > 2) throw new Error('disk full');
      },
    };
    let sent = 0;
    const send = async (): Promise<Uint8Array> => {
      sent++;
      return RANDOM_RESPONSE;
    };
    const transport = record({ send, close: async () => undefined }, sink);
    expect(await transport.send(RANDOM_COMMAND)).toEqual(RANDOM_RESPONSE);
    await expect(transport.send(RANDOM_COMMAND)).rejects.toMatchObject({ code: 'transport' });
    expect(sent).toBe(1);
  });

  it('decodes up to where it is broken off, at every byte', async () => {
    const bytes = await recordedExchange([RANDOM_RESPONSE, LOCKED_OUT]);
    const whole = parseRecording(bytes).events;
    let most = 0;
    for (let length = 4; length <= bytes.length; length++) {
      const { events, problems } = parseRecording(bytes.subarray(0, length));
      expect(events).toEqual(whole.slice(0, events.length));
      expect(events.length).toBeGreaterThanOrEqual(most);
      expect(problems.length).toBeLessThanOrEqual(1);
      most = events.length;
    }
    expect(most).toBe(whole.length);
  });

  it('gives back any frames and times that were recorded (property)', async () => {
    const frame = fc.uint8Array({ minLength: 0, maxLength: 300 }).map((body) => {
      const bytes = new Uint8Array(10 + body.length);
      new DataView(bytes.buffer).setUint16(0, 0x8001);
      new DataView(bytes.buffer).setUint32(2, bytes.length);
      bytes.set(body, 10);
      return bytes;
    });
    const exchange = fc.tuple(frame, frame, fc.integer({ min: 0, max: 2 ** 52 }));
    await fc.assert(
      fc.asyncProperty(fc.array(exchange, { minLength: 1, maxLength: 8 }), async (exchanges) => {
        const sink = memorySink();
        let now = 0;
        const transport = record(scripted(exchanges.map(([, answer]) => answer)), sink, { now: () => now });
        const expected: unknown[] = [];
        for (const [command, answer, time] of exchanges) {
          // The first frame tells the directions; after that anything may pass.
          const sent = expected.length === 0 ? RANDOM_COMMAND : command;
          now = time;
          await transport.send(sent);
          expected.push({ type: 'command', time, connection: 0, bytes: sent });
          expected.push({ type: 'response', time, connection: 0, bytes: answer });
        }
        expect(parseRecording(sink.bytes()).events).toEqual(expected);
      }),
    );
  });

  it('never crashes on what is not one (property)', async () => {
    const real = await recordedExchange([RANDOM_RESPONSE, LOCKED_OUT, new TpmError('closed', 'x')]);
    const mutation = fc.array(fc.tuple(fc.nat(real.length - 1), fc.nat(255)), { minLength: 1, maxLength: 20 });
    const explainAll = (bytes: Uint8Array): void => {
      try {
        for (const exchange of explainRecording(parseRecording(bytes)))
          JSON.stringify([exchangeJson(exchange), exchangeText(exchange)]);
      } catch (error) {
        expect(error).toBeInstanceOf(TpmError);
      }
    };
    fc.assert(
      fc.property(mutation, (changes) => {
        const bytes = real.slice();
        for (const [at, value] of changes) bytes[at] = value;
        explainAll(bytes);
      }),
      { numRuns: 2000 },
    );
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), explainAll), { numRuns: 2000 });
  });
});

describe('captures of other programs', () => {
  const u16 = (value: number): Uint8Array => Uint8Array.of(value >>> 8, value & 0xff);
  const u32 = (value: number): Uint8Array => Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value);
  const join2 = (...parts: readonly Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts));
  const SIGNALS = { sendCommand: u32(8), noError: u32(0) };

  /** An IPv4 packet in an Ethernet frame, as tcpdump writes it on a loopback interface. */
  function ethernet(toServer: boolean, sequence: number, payload: Uint8Array): Uint8Array {
    const packet = tcpPacket(toServer, sequence, 0, payload);
    return join2(new Uint8Array(12), u16(0x0800), packet);
  }

  /** A pcap file of the older format, little-endian. */
  function pcap(packets: readonly Uint8Array[], linkType = 1): Uint8Array {
    const le = (value: number): Uint8Array => u32(value).reverse();
    const header = join2(le(0xa1b2c3d4), Uint8Array.of(2, 0, 4, 0), le(0), le(0), le(65535), le(linkType));
    const records = packets.map((bytes, i) => join2(le(1000 + i), le(250), le(bytes.length), le(bytes.length), bytes));
    return join2(header, ...records);
  }

  it('puts commands together that came in pieces, and leaves out what was sent again', () => {
    const [head, tail] = [RANDOM_COMMAND.subarray(0, 7), RANDOM_COMMAND.subarray(7)];
    const packets = [
      ethernet(true, 1, head),
      ethernet(true, 1, head),
      ethernet(true, 8, tail),
      ethernet(true, 1, RANDOM_COMMAND),
      ethernet(false, 1, RANDOM_RESPONSE),
      ethernet(true, 13, new Uint8Array(0)),
    ];
    const { format, events } = parseRecording(pcap(packets));
    expect(format).toBe('pcap');
    expect(events).toEqual([
      { type: 'command', time: 1_002_000_250, connection: 0, bytes: RANDOM_COMMAND },
      { type: 'response', time: 1_004_000_250, connection: 0, bytes: RANDOM_RESPONSE },
    ]);
  });

  it('takes commands and responses out of the simulator protocol', () => {
    const request = join2(SIGNALS.sendCommand, Uint8Array.of(0), u32(RANDOM_COMMAND.length), RANDOM_COMMAND);
    const reply = join2(u32(RANDOM_RESPONSE.length), RANDOM_RESPONSE, SIGNALS.noError);
    const packets = [0, 1].flatMap((i) => [
      ethernet(true, 1 + i * request.length, request.subarray(0, 9)),
      ethernet(true, 10 + i * request.length, request.subarray(9)),
      ethernet(false, 1 + i * reply.length, reply),
    ]);
    const types = parseRecording(pcap(packets)).events.map(({ type }) => type);
    expect(types).toEqual(['command', 'response', 'command', 'response']);
  });

  it('leaves out other connections and other protocols', () => {
    const http = new TextEncoder().encode('GET / HTTP/1.1\r\n\r\n');
    const udp = tcpPacket(true, 1, 0, RANDOM_COMMAND);
    udp[9] = 17;
    const packets = [ethernet(true, 1, http), join2(new Uint8Array(12), u16(0x0800), udp), new Uint8Array(3)];
    expect(parseRecording(pcap(packets))).toEqual({ format: 'pcap', events: [], problems: [] });
  });

  it('goes on after packets that the capture lost', () => {
    const packets = [
      ethernet(true, 1, RANDOM_COMMAND.subarray(0, 5)),
      ethernet(true, 100, RANDOM_COMMAND),
      ethernet(false, 1, RANDOM_RESPONSE),
    ];
    expect(parseRecording(pcap(packets)).events.map(({ type }) => type)).toEqual(['command', 'response']);
  });

  it('never crashes on damaged ones (property)', () => {
    const real = pcap([ethernet(true, 1, RANDOM_COMMAND), ethernet(false, 1, RANDOM_RESPONSE)]);
    const mutation = fc.array(fc.tuple(fc.nat(real.length - 1), fc.nat(255)), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(mutation, fc.nat(real.length), (changes, length) => {
        const bytes = real.slice(0, Math.max(4, length));
        for (const [at, value] of changes) if (at >= 4 && at < bytes.length) bytes[at] = value;
        for (const exchange of explainRecording(parseRecording(bytes))) exchangeText(exchange);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('a recording file', () => {
  const path = join(directory, 'a.pcapng');

  it('is readable by its owner alone, and goes on where it was broken off', async () => {
    const write = async (): Promise<void> => {
      const transport = record(scripted([RANDOM_RESPONSE]), await openRecordingFile(path));
      await transport.send(RANDOM_COMMAND);
      await transport.close();
    };
    await write();
    expect(statSync(path).mode & 0o777).toBe(0o600);
    // As if the process had been killed while it wrote: the last block, the note of the end, is not whole.
    truncateSync(path, statSync(path).size - 3);
    chmodSync(path, 0o644);
    await write();
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const { events, problems } = parseRecording(new Uint8Array(readFileSync(path)));
    expect(problems).toEqual([]);
    expect(events.map(({ type }) => type)).toEqual(['command', 'response', 'command', 'response', 'control']);
    expect(events.map(({ connection }) => connection)).toEqual([0, 0, 1, 1, 1]);
  });

  it('is never written over something else', async () => {
    const other = join(directory, 'other');
    writeFileSync(other, 'precious');
    await expect(openRecordingFile(other)).rejects.toMatchObject({ code: 'usage' });
    await expect(openRecordingFile(join(directory, 'no', 'such'))).rejects.toMatchObject({ code: 'transport' });
    expect(readFileSync(other, 'utf8')).toBe('precious');
  });
});

describe('a replay', () => {
  it('answers what was recorded, in order, and refuses the rest', async () => {
    const recording = parseRecording(
      await recordedExchange([RANDOM_RESPONSE, LOCKED_OUT, new TpmError('timeout', 'late')]),
    );
    const transport = replay(recording);
    await expect(transport.send(LOCKED_OUT)).rejects.toThrow(/expected TPM2_GetRandom/);
    expect(await transport.send(RANDOM_COMMAND)).toEqual(RANDOM_RESPONSE);
    expect(await transport.send(RANDOM_COMMAND)).toEqual(LOCKED_OUT);
    await expect(transport.send(RANDOM_COMMAND)).rejects.toMatchObject({ code: 'timeout' });
    expect(transport.remaining).toBe(0);
    await expect(transport.send(RANDOM_COMMAND)).rejects.toMatchObject({ code: 'transport' });
    await transport.close();
    await expect(transport.send(RANDOM_COMMAND)).rejects.toMatchObject({ code: 'closed' });
  });

  it('answers out of order where that is asked for', async () => {
    const events: RecordedEvent[] = [RANDOM_COMMAND, RANDOM_RESPONSE].map((bytes, i) => ({
      type: i === 0 ? 'command' : 'response',
      time: undefined,
      connection: 0,
      bytes,
    }));
    const other = parseRecording(Buffer.concat([LOCKED_OUT]));
    const transport = replay(
      { format: 'binary', events: [...other.events, ...events], problems: [] },
      { order: 'any' },
    );
    expect(await transport.send(RANDOM_COMMAND)).toEqual(RANDOM_RESPONSE);
    await expect(transport.send(RANDOM_COMMAND)).rejects.toThrow(/no further command like it/);
  });
});

describeWith(['swtpm'], 'recording swtpm', () => {
  let server: SwtpmServer;
  beforeAll(async () => {
    server = await startSwtpm({ unix: true });
  });
  afterAll(() => server?.stop());

  const connect = () => connectSwtpm({ path: server.path ?? '' });

  /** Runs `work` on a recorded connection and gives the recording. */
  async function recorded(work: (tpm: Tpm) => Promise<void>, crypto?: TpmCrypto): Promise<Uint8Array> {
    const sink = memorySink();
    await using tpm = new Tpm(record(await connect(), sink), crypto ? { crypto } : {});
    await work(tpm);
    await tpm.close();
    return sink.bytes();
  }

  it('replays a session whose nonces come again, to the last byte', async () => {
    const counting = (): TpmCrypto => {
      let drawn = 0;
      return { ...nobleCrypto, random: (size) => new Uint8Array(size).fill(++drawn) };
    };
    const work = async (tpm: Tpm): Promise<void> => {
      await using session = await startSession(tpm, { type: 'hmac', encrypt: true });
      await tpm.execute(GetRandom, { bytesRequested: 8 }, { sessions: [session] });
      await readPcrs(tpm, { sha256: [0, 7] });
    };
    const transport = replay(parseRecording(await recorded(work, counting())));
    await work(new Tpm(transport, { crypto: counting() }));
    expect(transport.remaining).toBe(0);
    await expect(new Tpm(transport).execute(PcrRead, { pcrSelectionIn: pcrSelection({ sha1: [1] }) })).rejects.toThrow(
      /replay/,
    );
  });

  it('shows encrypted parameters as encrypted, and no secret that passed in the clear', async () => {
    const data = new TextEncoder().encode('the sealed secret');
    const auth = 'the password';
    const bytes = await recorded(async (tpm) => {
      await using srk = await createPrimary(tpm, { template: srkTemplate('ecc-p256') });
      const sealed = await seal(tpm, { parent: srk, data, auth });
      expect(await unseal(tpm, { parent: srk, sealed, auth })).toEqual(data);
      // And as a careless program does it: the password and the data in the clear.
      const { Unseal } = await import('../src/index.js');
      await using object = await loadKey(tpm, srk, sealed);
      await tpm.execute(Unseal, { itemHandle: { ...object, auth: password(auth) } });
      const policy = [{ type: 'password' }] as const;
      const underPolicy = await seal(tpm, { parent: srk, data, auth, policy });
      await unseal(tpm, { parent: srk, sealed: underPolicy, auth, policy });
      const index = await nvDefine(tpm, { index: 0x01800010, size: 8, authValue: auth });
      await nvWrite(tpm, index, new TextEncoder().encode('nv data!'));
      await nvRead(tpm, index);
    });
    const shown = text(bytes);
    const hex = (value: string): string => Buffer.from(value).toString('hex');
    for (const secret of ['the sealed secret', auth, 'nv data!']) {
      expect(shown).not.toContain(hex(secret));
      expect(JSON.stringify(explainRecording(parseRecording(bytes)).map(exchangeJson))).not.toContain(hex(secret));
      expect(text(bytes, { unsafeShowSecrets: true })).toContain(hex(secret));
    }
    expect(shown).toMatch(/inSensitive +encrypted [0-9a-f]{8}/);
    expect(shown).toMatch(/outData +encrypted/);
    expect(shown).toMatch(/outData +\[redacted, 17 bytes\]/);
    expect(shown).toMatch(/password +\[redacted\]/);
    expect(shown).toMatch(/sessionAttributes +continueSession \| decrypt/);
    expect(shown).toMatch(/objectAttributes +fixedTPM \| fixedParent/);
    expect(shown).toMatch(/0x80[0-9a-f]{6} \(transient of #1\)/);
    expect(shown).toContain('TPM_RH_OWNER');
  });
});

const pcapLibrary = '/usr/lib/x86_64-linux-gnu/libtss2-tcti-pcap.so.0';
const hasPcap =
  existsSync(pcapLibrary) || spawnSync('sh', ['-c', 'ldconfig -p | grep -q libtss2-tcti-pcap']).status === 0;

describeWith(hasPcap ? ['swtpm', 'tpm2_pcrread'] : ['libtss2-tcti-pcap'], "reading tpm2-tools' own recordings", () => {
  let server: SwtpmServer;
  beforeAll(async () => {
    server = await startSwtpm({ unix: true });
  });
  afterAll(() => server?.stop());

  function tool(...[name, ...args]: readonly [string, ...string[]]) {
    const env = {
      ...process.env,
      TPM2TOOLS_TCTI: `pcap:swtpm:path=${server.path}`,
      TCTI_PCAP_FILE: join(directory, 'tools.pcap'),
    };
    return spawnSync(name, args, { env, cwd: directory, encoding: 'utf8' });
  }

  it('explains every exchange that tcti-pcap wrote down', () => {
    tool('tpm2_pcrread', 'sha256:0,7');
    tool('tpm2_createprimary', '-C', 'o', '-G', 'ecc', '-c', 'p.ctx');
    tool('tpm2_flushcontext', '-t');
    expect(tool('tpm2_nvread', '0x1800001').status).not.toBe(0);
    const bytes = new Uint8Array(readFileSync(join(directory, 'tools.pcap')));
    const exchanges = explainRecording(parseRecording(bytes));
    expect(exchanges.length).toBeGreaterThan(8);
    for (const { command, response } of exchanges) {
      expect(command?.problem ?? response?.problem).toBeUndefined();
      expect(command && response).toBeDefined();
    }
    const shown = text(bytes);
    expect(shown).toMatch(/TPM2_PCR_Read.*TPM_RC_SUCCESS/);
    expect(shown).toMatch(/pcrSelectionIn +sha256:0,7/);
    expect(shown).toMatch(/TPM2_CreatePrimary/);
    expect(shown).toMatch(/handle 1 \(nvIndex\)/);
  });
});

/** Every defined member of a decoded value is there in its spelling. */
function expectWhole(value: unknown, spelled: Readonly<Record<string, Spelled>>, path: string): void {
  for (const [name, member] of Object.entries(value as object)) {
    if (member === undefined) continue;
    const found = spelled[name] ?? fail(`${path}: ${name} is missing`);
    if (found.kind === 'absent') fail(`${path}: ${name} is absent`);
    if (found.kind === 'list') {
      expect(found.items.length).toBe((member as readonly unknown[]).length);
      for (const item of found.items) if (item.kind === 'absent') fail(`${path}: an item of ${name} is absent`);
    }
    if (found.kind === 'struct') expectWhole(member, Object.fromEntries(found.fields), `${path}.${name}`);
  }
}

function fail(message = 'expected an exchange'): never {
  throw new Error(message);
}
