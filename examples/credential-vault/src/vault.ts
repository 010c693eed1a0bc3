/** The application's side: both PALs over one TPM and one directory, and what a release takes. */
import { randomBytes, randomUUID } from 'node:crypto';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildPal } from '@casemate/pal-linker/build';
import { openDevice } from '@casemate/tpm/device';
import { directoryStore, openTrustvisor, type PalQuote } from '@casemate/trustvisor';
import { measurementUuid, openDevice as openTzDevice, type Session } from '@casemate/tz';
import { openUtpm } from '@casemate/utpm';
import { directoryState } from '@casemate/utpm/node';
import { type Auditor, creationOf, headOf, isSame, isSignedBy, type SignedHead } from './chain.js';
import { appendEntry, encodeEntry, keepFirst, type LogEntry, orMissing, readEntries } from './log-file.js';

/** Where things are. */
export interface VaultOptions {
  /** The directory of this example: the PALs' state, the log, the software TPM. */
  readonly state: string;
  /** A TPM device such as `/dev/tpmrm0`; a software TPM without it. */
  readonly tpm?: string | undefined;
}

/** Both images. */
export interface Images {
  readonly audit: Uint8Array;
  readonly vault: Uint8Array;
}

/** A receipt of the audit service; only the vault can read it. */
type Receipt = Uint8Array;

/** The vault and its audit service at work. */
export interface Vault {
  /** Puts a credential in. */
  put(name: string, secret: Uint8Array): Promise<void>;
  /** The names of what is in it. */
  list(): Promise<readonly string[]>;
  /** Asks, has it logged, and gets the credential out. */
  release(entry: LogEntry): Promise<Uint8Array>;
  /** The first two steps of a release: asks for it, and has the audit service log it. */
  log(entry: LogEntry): Promise<Receipt>;
  /** The last step. */
  open(receipt: Receipt): Promise<Uint8Array>;
  /** The entries of the log, and whether the audit service signs for exactly these. */
  verify(): Promise<{ readonly entries: readonly Uint8Array[]; readonly problem: string | undefined }>;
}

const VAULT = { SET_UP: 1, PUT: 2, REQUEST: 3, RELEASE: 4, LIST: 5 } as const;
const AUDIT = { APPEND: 1, HEAD: 2 } as const;
/** The uPCR of the audit service in which its log stands. */
const CHAIN = 7;
const PROJECT = fileURLToPath(new URL('..', import.meta.url));

/** The images; the same bytes each time. */
export async function buildImages(): Promise<Images> {
  const build = async (name: string) => {
    const source = { sources: [`assembly/${name}.pal.ts`], baseDirectory: PROJECT, engine: 'wasm' } as const;
    return (await buildPal({ ...source, name, version: '1.0.0', replayProtected: true })).image;
  };
  return { audit: await build('audit'), vault: await build('vault') };
}

/** The file of the log. */
export function logOf(state: string): string {
  return join(state, 'audit.log');
}

/** Works with the vault. Throws TrustvisorError, and TzError with the service's answer as `serviceReturn`. */
export async function withVault<T>(
  images: Images,
  { state, tpm: path }: VaultOptions,
  work: (vault: Vault) => Promise<T>,
): Promise<T> {
  await mkdir(state, { recursive: true });
  const tpm =
    path === undefined
      ? await openUtpm({ state: await directoryState(join(state, 'tpm')), startup: true })
      : await openDevice(path);
  try {
    await using trustvisor = await openTrustvisor({ tpm, store: directoryStore(join(state, 'pals')) });
    const [audit, vault] = [await trustvisor.register(images.audit), await trustvisor.register(images.vault)];
    await using device = await openTzDevice({ trustvisor, pals: [audit, vault] });
    await using auditSession = await device.openSession(measurementUuid(audit.measurement));
    await using vaultSession = await device.openSession(measurementUuid(vault.measurement));
    const auditor = await setUp(vaultSession, state, audit);
    const quote = (nonce: Uint8Array) => audit.quote(nonce, { pcrs: [0, CHAIN] });
    const parts = { state, auditor, vault: vaultSession, audit: auditSession, quote, reader: vault.measurement };
    await takeBackUnlogged(parts);
    return await work(vaultOf(parts));
  } finally {
    await tpm.close();
  }
}

interface Parts {
  readonly state: string;
  readonly auditor: Auditor;
  readonly vault: Session;
  readonly audit: Session;
  /** The audit service's signature over what its uPCRs hold now. */
  readonly quote: (nonce: Uint8Array) => Promise<PalQuote>;
  /** The measurement of the vault, which receipts are for. */
  readonly reader: Uint8Array;
}

/**
 * At the first use the vault is told who its audit service is, and we keep its key: from then on neither changes. A program that is killed in
 * between is followed by one that tells the vault the same again.
 */
async function setUp(vault: Session, state: string, audit: Auditor): Promise<Auditor> {
  const file = join(state, 'auditor.json');
  const text = await readFile(file, 'utf8').catch(orMissing);
  if (text !== undefined) {
    const { identity, measurement } = JSON.parse(text) as Record<keyof Auditor, string>;
    return { identity: fromHex(identity), measurement: fromHex(measurement) };
  }
  const { identity, measurement } = audit;
  await vault.invoke(VAULT.SET_UP, [creationOf(measurement)]);
  const draft = `${file}.${randomUUID()}`;
  await writeFile(draft, JSON.stringify({ identity: toHex(identity), measurement: toHex(measurement) }), {
    flush: true,
  });
  await rename(draft, file);
  return { identity, measurement };
}

function vaultOf(parts: Parts): Vault {
  const { vault, audit, state, reader } = parts;
  const open = async (receipt: Receipt): Promise<Uint8Array> =>
    bytesIn(await vault.invoke(VAULT.RELEASE, [receipt]), 0);
  const log = async (entry: LogEntry): Promise<Receipt> => {
    const bytes = encodeEntry(entry);
    const nonce = bytesIn(await vault.invoke(VAULT.REQUEST, [new TextEncoder().encode(entry.name), bytes]), 0);
    // Written down first: what the audit service has is never missing here.
    await appendEntry(logOf(state), bytes);
    return bytesIn(await audit.invoke(AUDIT.APPEND, [nonce, bytes, reader]), 2);
  };
  return {
    async put(name, secret) {
      await vault.invoke(VAULT.PUT, [new TextEncoder().encode(name), secret]);
    },
    async list() {
      const names = await vault.invoke(VAULT.LIST);
      return names.map((_, i) => new TextDecoder().decode(bytesIn(names, i)));
    },
    log,
    open,
    release: async (entry) => open(await log(entry)),
    verify: () => verify(parts),
  };
}

async function verify(parts: Parts) {
  const entries = await readEntries(logOf(parts.state));
  const nonce = new Uint8Array(randomBytes(32));
  const signed = { ...(await askHead(parts)), ...(await parts.quote(nonce)) };
  return { entries, problem: problemOf(parts.auditor, nonce, signed, entries) };
}

function problemOf(auditor: Auditor, nonce: Uint8Array, signed: SignedHead, entries: readonly Uint8Array[]) {
  if (!isSignedBy(auditor, nonce, signed)) return 'the audit service that this vault was set up with did not sign this';
  if (entries.length !== signed.count)
    return `the log has ${entries.length} entries, the audit service ${signed.count}`;
  return isSame(headOf(entries), signed.head) ? undefined : 'an entry is not what the audit service logged';
}

async function askHead({ audit }: Parts): Promise<Pick<SignedHead, 'count' | 'head'>> {
  const values = await audit.invoke(AUDIT.HEAD);
  return { count: Number(values[0]), head: bytesIn(values, 1) };
}

/** A program that was killed between writing an entry down, whole or in part, and having it logged released nothing for it. */
async function takeBackUnlogged(parts: Parts): Promise<void> {
  const { count, head } = await askHead(parts);
  const entries = await readEntries(logOf(parts.state));
  const isOurs = entries.length === count || entries.length === count + 1;
  if (isOurs && isSame(headOf(entries.slice(0, count)), head)) await keepFirst(logOf(parts.state), count);
}

function bytesIn(values: readonly unknown[], place: number): Uint8Array {
  const value = values[place];
  if (value instanceof Uint8Array) return value;
  throw new Error(`expected bytes at place ${place} of an answer, got ${typeof value}`);
}

function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

function fromHex(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'hex'));
}
