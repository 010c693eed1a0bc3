/** The isolate: gets the master secret, keeps the PALs, and answers the application. */
import { randomBytes } from 'node:crypto';
import type { Duplex } from 'node:stream';
import {
  openPalFile,
  type PalImage,
  PalLinkerError,
  type PalSignatureBlock,
  palSignedMessage,
} from '@casemate/pal-linker';
import { nodeVerifier } from '@casemate/pal-linker/node';
import type { TpmTransport } from '@casemate/tpm';
import {
  encodePalStatement,
  identityEvent,
  type PalCertificate,
  type PalCertificateClaims,
  palStatementNonce,
  TRUSTVISOR_MEASUREMENT,
} from './certificate.js';
import { Channel, type Outgoing } from './channel.js';
import { sha1 } from './classic.js';
import { equal, sha256 } from './digest.js';
import { TrustvisorError } from './error.js';
import { HistoryRegistry } from './history.js';
import { identityKeyCommand } from './identity-key.js';
import { isMarshalled } from './marshal.js';
import { MicroTpm, microSeeds } from './micro-tpm.js';
import { NvTable } from './nv.js';
import type { LastRequest } from './options.js';
import { PlatformTpm } from './platform-tpm.js';
import {
  type Body,
  ENGINE,
  MAX_ARENA,
  MAX_TIME_LIMIT,
  MESSAGE,
  type Message,
  NO_LANE,
  NO_PCR,
  OPEN_FLAGS,
  PROTOCOL_VERSION,
  REGISTER_FLAGS,
} from './protocol.js';
import { type Engines, type PalHost, RegisteredPal } from './registered-pal.js';
import { Stop } from './stop.js';
import type { BlobStore } from './store.js';

const MAX_PALS = 100;
const ACCEPTS: ReadonlySet<Message['type']> = new Set([1, 2, 3, 4, 5, 6, 7, 8]);

/** Serves one application at the other end of `stream` until it closes; `engines` says where their programs lie. */
export function serve(stream: Duplex, engines: Engines): Promise<void> {
  return new Promise((resolve) => {
    const monitor = new Monitor(stream, engines, () => {
      void Promise.all([monitor.end(), engines.threads.close()]).finally(resolve);
    });
  });
}

interface Opened {
  readonly host: Omit<PalHost, 'print' | 'lane'>;
  /** The micro-TPM of the TrustVisor key. */
  readonly certifier: MicroTpm;
  readonly memoryLimit: number;
}

class Monitor {
  readonly #channel: Channel;
  readonly #engines: Engines;
  readonly #pals = new Map<number, RegisteredPal>();
  readonly #calls = new Map<number, Stop>();
  readonly #loans = new Loans();
  #opened: Opened | undefined;
  #isOpened = false;
  #isClosing = false;
  #ending: Promise<void> | undefined;
  #registering: Promise<unknown> = Promise.resolve();
  #nextPal = 1;

  constructor(stream: Duplex, engines: Engines, closed: () => void) {
    this.#engines = engines;
    this.#channel = new Channel(stream, { accepts: ACCEPTS, handle: (message) => this.#handle(message), closed });
  }

  /** Wipes everything, once. Where the application is gone nothing can be told to the TPM any more. */
  end(): Promise<void> {
    this.#isClosing = true;
    this.#ending ??= this.#wipe();
    return this.#ending;
  }

  async #wipe(): Promise<void> {
    await this.#closePals();
    await this.#opened?.host.nv?.close();
    this.#opened?.host.master.fill(0);
    await this.#opened?.certifier.close();
    this.#opened = undefined;
    // One that was being registered when the stream ended.
    void this.#registering.then(() => this.#closePals());
  }

  async #closePals(): Promise<void> {
    const pals = [...this.#pals.values()];
    this.#pals.clear();
    await Promise.all(pals.map((pal) => pal.close()));
  }

  async #handle(message: Message): Promise<Outgoing | undefined> {
    switch (message.type) {
      case MESSAGE.OPEN:
        return this.#open(message.body);
      case MESSAGE.REGISTER:
        return this.#register(message.body);
      case MESSAGE.INVOKE:
        return this.#invoke(message.id, message.body);
      case MESSAGE.QUOTE: {
        const body = await this.#pal(message.body.pal).quote(message.body.nonce, message.body.mask);
        return { type: MESSAGE.QUOTED, body };
      }
      case MESSAGE.UNREGISTER:
        return this.#unregister(message.body.pal);
      case MESSAGE.CLOSE:
        return this.#close();
      case MESSAGE.ABORT:
        this.#calls.get(message.body.request)?.abort();
        return undefined;
      case MESSAGE.STOP:
        await this.#pal(message.body.pal).stop();
        return DONE;
      default:
        throw new TrustvisorError('protocol', `answer message: type ${message.type} does not go this way`);
    }
  }

  /** Once: two that are under way would make two master secrets, of which one would never be wiped. */
  async #open(body: Body<1>): Promise<Outgoing> {
    if (this.#isOpened) throw new TrustvisorError('protocol', 'open isolate: it was opened already');
    assertOptions(body);
    this.#isOpened = true;
    const withTpm = (body.flags & OPEN_FLAGS.tpm) !== 0;
    const opened = withTpm ? await this.#openWithTpm(body) : await this.#openEphemeral(body);
    if (this.#isClosing) return abandon(opened);
    this.#opened = opened;
    return { type: MESSAGE.OPENED, body: { ephemeral: withTpm ? 0 : 1, identity: opened.certifier.identity } };
  }

  #enginesFor({ engine }: Body<1>): Engines {
    return engine === ENGINE.kvm ? this.#engines : { ...this.#engines, kvmMonitor: undefined };
  }

  async #openEphemeral(body: Body<1>): Promise<Opened> {
    const master = new Uint8Array(randomBytes(32));
    const host = { master, engines: this.#enginesFor(body), histories: undefined, nv: undefined, store: undefined };
    return { host, certifier: await openCertifier(master), memoryLimit: body.memoryLimit };
  }

  async #openWithTpm(body: Body<1>): Promise<Opened> {
    const platform = new PlatformTpm(forwardedTpm(this.#channel), body);
    const store = forwardedStore(this.#channel);
    const master = await obtainMaster(platform, store);
    const historyHost = { platform, store, master };
    const registry = new HistoryRegistry(historyHost);
    await registry.open();
    await registry.mark();
    const certifier = await openCertifier(master);
    if (body.identityPcr !== NO_PCR) await platform.extendEvent(body.identityPcr, identityEvent(certifier.identity));
    const histories = { host: historyHost, registry };
    const nv = new NvTable({ ...histories, exclusive: (run) => this.#exclusively(run) });
    const host = { master, engines: this.#enginesFor(body), histories, nv, store };
    return { host, certifier, memoryLimit: body.memoryLimit };
  }

  /** Registrations run one after another: they share the registry of histories. */
  async #register(body: Body<2>): Promise<Outgoing> {
    if (this.#isClosing) throw new TrustvisorError('closed', 'register PAL: the isolate is being closed');
    return this.#exclusively(() => this.#registerNow(body));
  }

  #exclusively<T>(run: () => Promise<T>): Promise<T> {
    const turn = this.#registering.then(run);
    this.#registering = turn.catch(() => undefined);
    return turn;
  }

  async #registerNow(body: Body<2>): Promise<Outgoing> {
    const { host, certifier, memoryLimit } = this.#use();
    if (this.#pals.size >= MAX_PALS) {
      throw new TrustvisorError('busy', `register PAL: expected fewer than ${MAX_PALS} registered ones`);
    }
    const { parsed, measured, signed } = await openImage(body, memoryLimit);
    const id = this.#nextPal++;
    const print = (text: string) => {
      if (this.#pals.has(id)) this.#channel.notify({ type: MESSAGE.PRINT, body: { pal: id, text } });
    };
    const lane = (number: number = NO_LANE, inputCapacity: number) =>
      this.#channel.notify({ type: MESSAGE.LANE, body: { pal: id, lane: number, inputCapacity } });
    const source = {
      image: parsed,
      ...measured,
      signed,
      identityKey: (body.flags & REGISTER_FLAGS.rsaIdentity) === 0 ? 'ecc-p256' : 'rsa-2048',
      sharedIdentity: (body.flags & REGISTER_FLAGS.sharedIdentity) !== 0,
      checkpointAfter: (body.flags & REGISTER_FLAGS.checkpoints) === 0 ? undefined : limited(body.checkpointAfter),
    } as const;
    const pal = await RegisteredPal.register(source, { ...host, print, lane }, limited(body.timeLimit));
    const { name, version } = parsed;
    const last = pal.lastRequest ? [lastBody(pal.lastRequest)] : [];
    const { measurement, identity } = pal;
    const certificate = await certifyOrClose(certifier, { name, version, identity, ...source }, pal);
    this.#pals.set(id, pal);
    const about = { measurement, identity, certificate, signed: signed ? [signed] : [] };
    const entry = { isMarshalled: isMarshalled(parsed) ? 1 : 0, parameters: parsed.parameters } as const;
    return { type: MESSAGE.REGISTERED, body: { pal: id, name, version, ...about, ...entry, last } };
  }

  async #invoke(request: number, { pal: id, lent, timeLimit, ...given }: Body<3>): Promise<Outgoing> {
    const pal = this.#pal(id);
    assertLent(lent, this.#engines.arena !== undefined);
    const loan = this.#loans.take(lent);
    const stop = new Stop();
    this.#calls.set(request, stop);
    try {
      const call = { ...given, lent, timeLimit: limited(timeLimit), signal: stop };
      return { type: MESSAGE.INVOKED, body: await pal.invoke(call) };
    } finally {
      this.#calls.delete(request);
      this.#loans.give(loan);
    }
  }

  async #unregister(id: number): Promise<Outgoing> {
    const pal = this.#pal(id);
    this.#pals.delete(id);
    await pal.close();
    return DONE;
  }

  /**
   * What is being registered is registered first: the application says how long that takes, and with a master secret that is wiped
   * meanwhile the PAL would have the keys of 32 zeros, which the application can derive too.
   */
  async #close(): Promise<Outgoing> {
    this.#isClosing = true;
    await this.#registering;
    await this.end();
    return DONE;
  }

  #use(): Opened {
    if (this.#opened !== undefined) return this.#opened;
    throw new TrustvisorError('closed', 'use isolate: it is not open');
  }

  #pal(id: number): RegisteredPal {
    const pal = this.#pals.get(id);
    if (pal !== undefined) return pal;
    throw new TrustvisorError('closed', `use PAL ${id}: it is not registered`);
  }
}

/** It was closed while it was being opened. */
async function abandon({ host, certifier }: Opened): Promise<never> {
  host.master.fill(0);
  await certifier.close();
  throw new TrustvisorError('closed', 'open isolate: it is being closed');
}

const DONE: Outgoing = { type: MESSAGE.DONE, body: undefined };

function assertOptions(body: Body<1>): void {
  if (body.protocol !== PROTOCOL_VERSION) {
    throw new TrustvisorError('protocol', `open isolate: expected protocol ${PROTOCOL_VERSION}, got ${body.protocol}`);
  }
  if (body.engine !== ENGINE.wasm && body.engine !== ENGINE.kvm) {
    throw new TrustvisorError(
      'unsupported-engine',
      `open isolate: expected the engine wasm or kvm, got ${body.engine}`,
    );
  }
  if ((body.flags & (OPEN_FLAGS.tpm | OPEN_FLAGS.allowEphemeral)) === 0) {
    throw new TrustvisorError('refused', 'open isolate: expected a platform TPM, got none; nothing could be sealed');
  }
  if (body.pcrs.some((pcr) => pcr > 23) || new Set(body.pcrs).size !== body.pcrs.length) {
    throw new TrustvisorError(
      'input',
      `open isolate: expected distinct PCRs from 0 to 23, got ${body.pcrs.join(', ')}`,
    );
  }
  if (body.identityPcr > 23 && body.identityPcr !== NO_PCR) {
    throw new TrustvisorError('input', `open isolate: expected a PCR from 0 to 23, got ${body.identityPcr}`);
  }
  if (body.pcrs.length === 0 && (body.flags & OPEN_FLAGS.allowAnyPlatformState) === 0) {
    throw new TrustvisorError('refused', 'open isolate: expected PCRs to bind the master secret to, got none');
  }
}

/**
 * The master secret of this platform, made where there has never been one. Where sealed state shows that there was one,
 * a missing index is refused: a new secret would make all old state unreadable, and silently.
 */
async function obtainMaster(platform: PlatformTpm, store: BlobStore): Promise<Uint8Array> {
  for (let look = 1; look <= MAX_LOOKS; look++) {
    const isMissed = await HistoryRegistry.isThere(store);
    const state = await platform.masterState();
    if (state === 'written') return platform.readMaster();
    assertNoMaster(state === 'foreign', isMissed);
    // Another isolate may be about to write it. One that died there would have by now.
    if (state === 'defined' && look % PATIENT_LOOKS !== 0) continue;
    if (state === 'defined') await platform.abandonMaster();
    const master = new Uint8Array(randomBytes(32));
    const makeRegistry = () => new HistoryRegistry({ platform, store, master }).create();
    if (await platform.createMaster(master, makeRegistry)) return master;
  }
  throw new TrustvisorError('refused', 'create the master secret: others do so at the same time, again and again');
}

/** To make a master secret takes as long as some of these looks at it do, however slow the TPM is. */
const PATIENT_LOOKS = 20;
const MAX_LOOKS = 100;

function assertNoMaster(isForeign: boolean, isMissed: boolean): void {
  const problem = isForeign
    ? 'its NV index is bound to other PCR values, or is not ours'
    : isMissed
      ? 'there is sealed state, but the NV index of the secret that sealed it is gone'
      : undefined;
  if (problem !== undefined) throw new TrustvisorError('refused', `read the master secret: ${problem}`);
}

/** An image that may be registered, with its measurements and what its signature says. The application gave all of it. */
async function openImage({ image, flags, signers }: Body<2>, memoryLimit: number) {
  const file = openOrRefuse(image);
  const signed = file.block && (await verifySignature(file.value, file.block));
  if ((flags & REGISTER_FLAGS.mustBeSigned) !== 0) assertSigner(file.value.name, signed?.signer, signers);
  assertMemory(file.value, memoryLimit);
  const measured = { measurement: sha256(file.image), classicMeasurement: sha1(file.image) };
  return { parsed: file.value, measured, signed };
}

function openOrRefuse(image: Uint8Array) {
  try {
    return openPalFile(image);
  } catch (error) {
    if (!(error instanceof PalLinkerError)) throw error;
    throw new TrustvisorError('refused', `register PAL: ${error.message}`, { cause: error });
  }
}

async function verifySignature({ name, version }: PalImage, block: PalSignatureBlock) {
  const { algorithm, publicKey, signature, securityVersion } = block;
  const message = palSignedMessage({ ...block, name, version });
  if ((await nodeVerifier({ algorithm, publicKey, message, signature })) !== true) {
    throw new TrustvisorError('refused', `register PAL ${name}: its signature is not authentic`);
  }
  return { signer: sha256(publicKey), securityVersion };
}

function assertSigner(name: string, signer: Uint8Array | undefined, accepted: readonly Uint8Array[]): void {
  if (signer === undefined)
    throw new TrustvisorError('refused', `register PAL ${name}: expected a signed image, got none`);
  if (accepted.length === 0 || accepted.some((each) => equal(each, signer))) return;
  const got = Buffer.from(signer).toString('hex');
  throw new TrustvisorError('refused', `register PAL ${name}: expected one of ${accepted.length} signers, got ${got}`);
}

function assertMemory({ name, sections, memory }: PalImage, memoryLimit: number): void {
  const needed = sections.reduce((sum, { memorySize }) => sum + memorySize, memory.maximumBytes);
  if (needed <= memoryLimit) return;
  const problem = `expected at most ${memoryLimit} bytes, got ${needed}`;
  throw new TrustvisorError('memory', `register PAL ${name}: ${problem}`);
}

function openCertifier(master: Uint8Array): Promise<MicroTpm> {
  const measurement = TRUSTVISOR_MEASUREMENT;
  return MicroTpm.open({ seeds: microSeeds(master, measurement), identityKey: identityKeyCommand(), measurement });
}

/** A PAL without a certificate is not registered. */
async function certifyOrClose(
  certifier: MicroTpm,
  claims: PalCertificateClaims,
  pal: RegisteredPal,
): Promise<PalCertificate> {
  try {
    return certify(certifier, claims);
  } catch (error) {
    await pal.close();
    throw error;
  }
}

/** Says by the TrustVisor key whose the identity is. */
function certify(certifier: MicroTpm, claims: PalCertificateClaims): PalCertificate {
  const statement = encodePalStatement(claims);
  return { statement, ...certifier.quote(palStatementNonce(statement), 1) };
}

type Lent = Body<3>['lent'][number];

/** The arena's ranges that calls under way may use. What one of them may write, no other may see. */
class Loans {
  readonly #all = new Set<Lent>();

  take(lent: readonly Lent[]): readonly Lent[] {
    const ranges = lent.filter(({ content }) => content.length === 0);
    const taken: Lent[] = [];
    for (const range of ranges) {
      if ([...this.#all].some((other) => conflict(range, other))) {
        this.give(taken);
        const problem = `the range of ${range.length} bytes at ${range.at} overlaps one that is lent already`;
        throw new TrustvisorError('input', `lend memory: ${problem}`);
      }
      this.#all.add(range);
      taken.push(range);
    }
    return taken;
  }

  give(ranges: readonly Lent[]): void {
    for (const range of ranges) this.#all.delete(range);
  }
}

function conflict(a: Lent, b: Lent): boolean {
  if (a.access === 1 && b.access === 1) return false;
  return a.at < b.at + b.length && b.at < a.at + a.length;
}

/** The application says where it lies: everything is checked. */
function assertLent(lent: readonly Lent[], hasArena: boolean): void {
  let total = 0;
  for (const { at, length, content } of lent) {
    const [bytes] = content;
    total += length;
    const problem =
      bytes === undefined && !hasArena
        ? 'there is no shared memory, expected its bytes'
        : bytes !== undefined && bytes.length !== length
          ? `expected ${length} bytes, got ${bytes.length}`
          : length === 0
            ? 'expected at least one byte'
            : at > MAX_ARENA || length > MAX_ARENA - at || total > MAX_ARENA
              ? `expected a range within ${MAX_ARENA} bytes, got ${length} at ${at}`
              : undefined;
    if (problem) throw new TrustvisorError('input', `lend memory: ${problem}`);
  }
}

function limited(timeLimit: number): number {
  if (timeLimit >= 1 && timeLimit <= MAX_TIME_LIMIT) return timeLimit;
  throw new TrustvisorError(
    'input',
    `call PAL: expected a time limit from 1 to ${MAX_TIME_LIMIT} ms, got ${timeLimit}`,
  );
}

function lastBody(last: LastRequest): Body<33>['last'][number] {
  return {
    ...last,
    outcome: last.outcome === 'returned' ? 0 : 1,
    rolledForward: last.rolledForward ? 1 : 0,
  };
}

/** The platform TPM at the other end of the stream. */
function forwardedTpm(channel: Channel): TpmTransport {
  return {
    send: async (command) => {
      const reply = await channel.request({ type: MESSAGE.TPM, body: { command } }, MESSAGE.CONTENT);
      return reply.body.content[0] ?? new Uint8Array(0);
    },
    close: async () => undefined,
  };
}

/** The untrusted store at the other end of the stream. */
function forwardedStore(channel: Channel): BlobStore {
  return {
    get: async (name) =>
      (await channel.request({ type: MESSAGE.STORE_GET, body: { name } }, MESSAGE.CONTENT)).body.content[0],
    put: async (name, content) => {
      await channel.request({ type: MESSAGE.STORE_PUT, body: { name, content } }, MESSAGE.DONE);
    },
    delete: async (name) => {
      await channel.request({ type: MESSAGE.STORE_DELETE, body: { name } }, MESSAGE.DONE);
    },
  };
}
