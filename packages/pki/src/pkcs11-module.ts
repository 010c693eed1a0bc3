/** The part of pkcs11js (an optional peer dependency, a native addon) that keys need, and modules shared within a process. */
import { PkiError } from './error.js';

/** A handle of the module. */
export type Handle = Buffer;

/** An attribute of an object. */
export interface Attribute {
  readonly type: number;
  readonly value?: Buffer | string | number | boolean;
}

/** A mechanism with its parameter. */
export interface Mechanism {
  readonly mechanism: number;
  readonly parameter?:
    | Buffer
    | { readonly type: number; readonly hashAlg: number; readonly mgf: number; readonly saltLen: number };
}

/** The functions of Cryptoki 2.40 that are called. */
export interface Cryptoki {
  load(path: string): void;
  close(): void;
  C_Initialize(options?: { readonly flags: number }): void;
  C_Finalize(): void;
  C_GetSlotList(tokenPresent: boolean): Handle[];
  C_GetTokenInfo(slot: Handle): {
    readonly label: string;
    readonly manufacturerID: string;
    readonly model: string;
    readonly serialNumber: string;
  };
  C_OpenSession(slot: Handle, flags: number): Handle;
  C_CloseSession(session: Handle): void;
  C_Login(session: Handle, user: number, pin: string): void;
  C_FindObjectsInit(session: Handle, template: readonly Attribute[]): void;
  C_FindObjects(session: Handle, count: number): Handle[];
  C_FindObjectsFinal(session: Handle): void;
  C_GetAttributeValue(
    session: Handle,
    object: Handle,
    query: readonly Attribute[],
  ): readonly { readonly type: number; readonly value: Buffer }[];
  C_SignInit(session: Handle, mechanism: Mechanism, key: Handle): void;
  C_SignAsync(session: Handle, data: Buffer, signature: Buffer): Promise<Buffer>;
  C_GenerateKeyPairAsync(
    session: Handle,
    mechanism: Mechanism,
    publicTemplate: readonly Attribute[],
    privateTemplate: readonly Attribute[],
  ): Promise<{ readonly publicKey: Handle; readonly privateKey: Handle }>;
}

const CKF_OS_LOCKING_OK = 2;
const CKR_ALREADY_INITIALIZED = 0x191;

interface Shared {
  readonly cryptoki: Cryptoki;
  readonly mustFinalize: boolean;
  users: number;
}

/** A module is initialised once a process, however many keys of it are open. */
const modules = new Map<string, Shared>();

/** Opens the module in a file; disposing of it gives it up. Throws {@link PkiError} `unsupported` without pkcs11js, `key-store`. */
export async function openModule(path: string): Promise<{ readonly cryptoki: Cryptoki } & Disposable> {
  const Pkcs11 = await addon();
  const shared = modules.get(path) ?? load(new Pkcs11(), path);
  modules.set(path, shared);
  shared.users += 1;
  return {
    cryptoki: shared.cryptoki,
    [Symbol.dispose]() {
      shared.users -= 1;
      if (shared.users > 0) return;
      modules.delete(path);
      if (shared.mustFinalize) shared.cryptoki.C_Finalize();
      shared.cryptoki.close();
    },
  };
}

async function addon(): Promise<new () => Cryptoki> {
  try {
    // A name in a variable: bundlers and type checkers need not have the package.
    const name = 'pkcs11js';
    const loaded: { readonly default?: { readonly PKCS11?: unknown }; readonly PKCS11?: unknown } = await import(name);
    const found = loaded.PKCS11 ?? loaded.default?.PKCS11;
    // The declarations above are those of pkcs11js 2.
    if (typeof found === 'function') return found as new () => Cryptoki;
  } catch (cause) {
    throw new PkiError(
      'unsupported',
      'open PKCS#11 module: expected the package pkcs11js to be installed and built, got none',
      cause,
    );
  }
  throw new PkiError('unsupported', 'open PKCS#11 module: expected pkcs11js 2, got another');
}

function load(cryptoki: Cryptoki, path: string): Shared {
  try {
    cryptoki.load(path);
  } catch (cause) {
    throw new PkiError('key-store', `open PKCS#11 module: expected a module in ${path}, got something else`, cause);
  }
  try {
    cryptoki.C_Initialize({ flags: CKF_OS_LOCKING_OK });
    return { cryptoki, mustFinalize: true, users: 0 };
  } catch (cause) {
    // Somebody else in this process uses it, and ends it.
    if (codeOf(cause) === CKR_ALREADY_INITIALIZED) return { cryptoki, mustFinalize: false, users: 0 };
    cryptoki.close();
    throw moduleError('initialise PKCS#11 module', cause);
  }
}

/** The CKR_ code of an error of pkcs11js. */
export function codeOf(error: unknown): number | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'number' ? error.code : undefined;
}

const WRONG_PIN = new Set([0xa0, 0xa1, 0xa2, 0xa4]);

/** An error of a module as one of ours: the CKR_ code is named, the arguments are not. */
export function moduleError(what: string, cause: unknown): PkiError {
  if (cause instanceof PkiError) return cause;
  const code = codeOf(cause);
  if (code !== undefined && WRONG_PIN.has(code)) {
    return new PkiError(
      'wrong-passphrase',
      `${what}: expected the PIN of the token, got another (CKR 0x${code.toString(16)})`,
      cause,
    );
  }
  const number = code === undefined ? '' : ` (CKR 0x${code.toString(16)})`;
  return new PkiError('key-store', `${what}: expected the module to do it, got a refusal${number}`, cause);
}
