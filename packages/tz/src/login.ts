/** Logins: which credentials a client asks to be shown, and what a device on Linux finds out; TrustZone API 3.0, sections 3.7 and 5.3.4. */
import { createHash, type Hash } from 'node:crypto';
import { realpathSync } from 'node:fs';
import { type FileHandle, open, readlink } from 'node:fs/promises';
import { TzError } from './error.js';
import type { TzInput } from './marshal.js';
import { TZ_LOGIN } from './return-code.js';

/**
 * The credentials that a service is shown; none of them is PUBLIC. The client names them; but for its own data, their content is the
 * device's to find out.
 */
export interface Login {
  /** Bytes for the service to check, such as a signed list of clients. */
  readonly clientData?: Uint8Array;
  /** The user that runs the client. */
  readonly user?: boolean;
  /** The group that runs the client. */
  readonly group?: boolean;
  /** The client's path. */
  readonly name?: boolean;
  /** The client's digest. */
  readonly digest?: boolean;
}

/** Who a client is, as far as it is known; what is absent is shown as unknown. */
export interface Caller {
  /** Real user id. */
  readonly user?: number | undefined;
  /** Real group id. */
  readonly group?: number | undefined;
  /** Path of the application. */
  readonly name?: string | undefined;
  /** 32 bytes: {@link applicationDigest}, or the measurement of a PAL that calls through its application. */
  readonly digest?: Uint8Array | undefined;
}

/** What a service is shown: the login's flags (`TZ_LOGIN`) and the caller's values for them. */
export interface Credentials extends Caller {
  /** The flags that the client asked for. */
  readonly flags: number;
  /** The client's own data. */
  readonly clientData: Uint8Array | undefined;
}

/** All credentials that there are (`TZ_LOGIN_ALL`), with the client's own data or without. */
export function allLogins(clientData?: Uint8Array): Login {
  const device = { user: true, group: true, name: true, digest: true };
  return clientData === undefined ? device : { ...device, clientData };
}

/** The flags of `login`, as the service sees them. */
function loginFlags(login: Login): number {
  return (
    (login.clientData ? TZ_LOGIN.CLIENT_DATA : 0) |
    (login.user ? TZ_LOGIN.USER : 0) |
    (login.group ? TZ_LOGIN.GROUP : 0) |
    (login.name ? TZ_LOGIN.NAME : 0) |
    (login.digest ? TZ_LOGIN.DIGEST : 0)
  );
}

/**
 * This process as the kernel shows it: real user and group id; the path of its main script or, where it has none, of its executable; and
 * {@link applicationDigest} of both. Only what `login` asks for is found out. The digest is taken once, and shown again afterwards.
 */
export async function thisProcess(login: Login): Promise<Caller> {
  return {
    user: login.user ? process.getuid?.() : undefined,
    group: login.group ? process.getgid?.() : undefined,
    name: login.name ? (mainScript() ?? (await executablePath())) : undefined,
    digest: login.digest ? await digestOfThisProcess() : undefined,
  };
}

/**
 * The digest that the login DIGEST shows of an application: SHA-256 of the SHA-256 of the executable and the SHA-256 of the main script
 * (nothing in its place where there is none). Modules that the script imports do not count: bundle it. Throws what opening a file throws.
 */
export async function applicationDigest(executable: string, script?: string): Promise<Uint8Array> {
  const parts = script === undefined ? [executable] : [executable, script];
  const digest = createHash('sha256');
  for (const part of parts) digest.update(await fileDigest(part));
  return bytesOf(digest);
}

/** What a service, or a policy, is shown for `login`. Throws TzError `TZ_ERROR_ILLEGAL_ARGUMENT` for client data that are no bytes. */
export async function credentialsOf(
  login: Login,
  caller: (login: Login) => Caller | Promise<Caller> = thisProcess,
): Promise<Credentials> {
  const { clientData } = login;
  if (clientData !== undefined && !(clientData instanceof Uint8Array)) {
    const problem = `log in: expected client data as a Uint8Array, got ${typeof clientData}`;
    throw new TzError('TZ_ERROR_ILLEGAL_ARGUMENT', 'api', problem);
  }
  const flags = loginFlags(login);
  const who = (flags & ~TZ_LOGIN.CLIENT_DATA) === 0 ? {} : await caller(login);
  return {
    flags,
    clientData,
    user: login.user ? who.user : undefined,
    group: login.group ? who.group : undefined,
    name: login.name ? who.name : undefined,
    digest: login.digest ? who.digest : undefined,
  };
}

/** The records of an open message in front of the client's own; WIRE.md, "Credentials". */
export function credentialRecords(credentials: Credentials): readonly TzInput[] {
  const { flags, clientData, user, group, name, digest } = credentials;
  const records: TzInput[] = [flags, clientData ?? null];
  if (flags & TZ_LOGIN.USER) records.push(user ?? UNKNOWN_ID);
  if (flags & TZ_LOGIN.GROUP) records.push(group ?? UNKNOWN_ID);
  if (flags & TZ_LOGIN.NAME) records.push(name === undefined ? null : new TextEncoder().encode(name));
  if (flags & TZ_LOGIN.DIGEST) records.push(digest ?? null);
  return records;
}

/** What Linux never gives to a user or a group. */
const UNKNOWN_ID = 0xffff_ffff;
/** What runs, even where its path now leads to another file. */
const EXECUTABLE = '/proc/self/exe';

let ownDigest: Promise<Uint8Array | undefined> | undefined;

function digestOfThisProcess(): Promise<Uint8Array | undefined> {
  ownDigest ??= applicationDigest(EXECUTABLE, mainScript()).catch(() => undefined);
  return ownDigest;
}

function mainScript(): string | undefined {
  const [, script] = process.argv;
  if (script === undefined) return undefined;
  try {
    return realpathSync(script);
  } catch {
    return undefined;
  }
}

async function executablePath(): Promise<string | undefined> {
  return readlink(EXECUTABLE).catch(() => undefined);
}

async function fileDigest(path: string): Promise<Uint8Array> {
  await using file = await openFile(path);
  const digest = createHash('sha256');
  for await (const chunk of file.handle.createReadStream({ autoClose: false, highWaterMark: 1 << 20 }))
    digest.update(chunk);
  return bytesOf(digest);
}

async function openFile(path: string): Promise<AsyncDisposable & { readonly handle: FileHandle }> {
  const handle = await open(path, 'r');
  return { handle, [Symbol.asyncDispose]: () => handle.close() };
}

function bytesOf(digest: Hash): Uint8Array {
  return new Uint8Array(digest.digest());
}
