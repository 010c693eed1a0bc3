/** TSS2 PRIVATE KEY files (draft-bottomley-tpm2-keys-00): keys and sealed data outside the TPM, with their parent and policy. */
import { decode, encode } from '@casemate/wire';
import { concat, u32Bytes } from './bytes.js';
import { TPM_ALG } from './constants/algorithms.js';
import { derBoolean, derExplicit, derInteger, derObject, derOctetString, derSequence, derUtf8 } from './der.js';
import { DER_TAG, DerReader } from './der-reader.js';
import { decodePem, encodePem } from './pem.js';
import { TpmError } from './response-code.js';
import { Tpm2bPrivate } from './structures/private.js';
import { Tpm2bPublic, type TpmtPublic } from './structures/public.js';
import { Tpm2bEncryptedSecret } from './structures/signatures.js';

/** What to do with the object: load it, import it first, or unseal it. */
export type KeyFileType = 'loadable' | 'importable' | 'sealed';

/** One policy command, as it is in the file: its code and its parameters (TPMPolicy). */
export interface KeyFileCommand {
  /** Member of `TPM_CC`. */
  readonly commandCode: number;
  /** The encoded parameters, without the policy session. */
  readonly commandPolicy: Uint8Array;
}

/** One policy that a key has approved, to choose from (TPMAuthPolicy). */
export interface KeyFileAuthPolicy {
  /** What people call it. */
  readonly name?: string | undefined;
  /** Its commands; the first is PolicyAuthorize with the approval. */
  readonly policy: readonly KeyFileCommand[];
}

/** The contents of a key file (TPMKey). */
export interface KeyFile {
  /** What it holds. */
  readonly type: KeyFileType;
  /** Whether the object's authorization value is empty, so that nobody need be asked for it. */
  readonly emptyAuth: boolean;
  /** The policy commands that authorise its use, all of them; none where the object has no policy. */
  readonly policy?: readonly KeyFileCommand[] | undefined;
  /** The seed of the outer wrapping of an importable key: the contents of a TPM2B_ENCRYPTED_SECRET. */
  readonly secret?: Uint8Array | undefined;
  /** Approved policies, one of which is followed. */
  readonly authPolicy?: readonly KeyFileAuthPolicy[] | undefined;
  /** Free text. */
  readonly description?: string | undefined;
  /** With a hierarchy as parent: the RSA 2048 primary instead of the P-256 one. */
  readonly rsaParent?: boolean | undefined;
  /** A persistent handle, or a hierarchy (`TPM_RH`), whose primary from the standard template is the parent. */
  readonly parent: number;
  /** The public area. */
  readonly public: TpmtPublic;
  /** The contents of the TPM2B_PRIVATE; for an importable key, the duplicate. */
  readonly private: Uint8Array;
}

/** Encodes a key file as PEM. Throws `TpmError` `usage` for contents that the format does not allow. */
export function encodeKeyFile(file: KeyFile): string {
  return encodePem(LABEL, encodeKeyFileDer(file));
}

/** Encodes a key file as DER; see {@link encodeKeyFile}. */
export function encodeKeyFileDer(file: KeyFile): Uint8Array {
  const problem = problemOf(file);
  if (problem !== undefined) throw new TpmError('usage', `encode key file: ${problem}`);
  return derSequence(
    TYPES[file.type],
    // The draft allows false to be left out, but tpm2-openssl 1.1 takes that for true.
    derExplicit(0, derBoolean(file.emptyAuth)),
    file.policy ? derExplicit(1, encodeCommands(file.policy)) : NONE,
    file.secret ? derExplicit(2, derOctetString(encode(Tpm2bEncryptedSecret, file.secret))) : NONE,
    file.authPolicy ? derExplicit(3, derSequence(...file.authPolicy.map(encodeAuthPolicy))) : NONE,
    file.description === undefined ? NONE : derExplicit(4, derUtf8(file.description)),
    file.rsaParent ? derExplicit(5, derBoolean(true)) : NONE,
    derInteger(u32Bytes(file.parent)),
    derOctetString(encode(Tpm2bPublic, file.public)),
    derOctetString(encode(Tpm2bPrivate, file.private)),
  );
}

/**
 * Reads a key file: PEM text, or DER. Whoever wrote the file controls all of it but what the TPM's integrity values
 * protect, so a policy or a parent is a proposal. Throws `TpmError` `decode` and, for the TPM's structures inside,
 * `WireError`.
 */
export function parseKeyFile(file: string | Uint8Array): KeyFile {
  const der = typeof file === 'string' ? decodePem(file, [LABEL]).der : file;
  if (der.length > MAX_FILE) {
    throw new TpmError('decode', `parse key file: expected at most ${MAX_FILE} bytes, got ${der.length}`);
  }
  const reader = new DerReader(der, 'key file');
  const parsed = parseKey(reader.sequence('TPMKey'));
  reader.finish();
  const problem = problemOf(parsed);
  if (problem !== undefined) throw new TpmError('decode', `parse key file: ${problem}`);
  return parsed;
}

function parseKey(key: DerReader): KeyFile {
  const type = key.object(TYPES, 'type');
  const emptyAuth = whole(key.explicit(0, 'emptyAuth'), parseBoolean) ?? false;
  const policy = whole(key.explicit(1, 'policy'), parseCommands);
  const secret = whole(key.explicit(2, 'secret'), (wrapped) =>
    decode(Tpm2bEncryptedSecret, wrapped.take(DER_TAG.OCTET_STRING, 'secret')),
  );
  const authPolicy = whole(key.explicit(3, 'authPolicy'), (list) => parseList(list, 'authPolicy', parseAuthPolicy));
  const description = whole(key.explicit(4, 'description'), parseUtf8);
  const rsaParent = whole(key.explicit(5, 'rsaParent'), parseBoolean);
  const parent = key.number('parent') || OLD_OWNER;
  const publicArea = decode(Tpm2bPublic, key.take(DER_TAG.OCTET_STRING, 'pubkey'));
  const privateArea = decode(Tpm2bPrivate, key.take(DER_TAG.OCTET_STRING, 'privkey'));
  key.finish();
  const optional = { policy, secret, authPolicy, description, rsaParent };
  const given = Object.fromEntries(Object.entries(optional).filter(([, value]) => value !== undefined));
  return { type, emptyAuth, ...given, parent, public: publicArea, private: privateArea };
}

/** Reads what an optional explicit tag wraps, to its end. */
function whole<T>(reader: DerReader | undefined, read: (reader: DerReader) => T): T | undefined {
  if (!reader) return undefined;
  const value = read(reader);
  reader.finish();
  return value;
}

/** Several programs write 1 for true where DER has 255, so any other value than 0 is true here. */
function parseBoolean(reader: DerReader): boolean {
  const [value] = reader.take(DER_TAG.BOOLEAN, 'BOOLEAN');
  if (value === undefined) throw reader.refuse('expected one byte of BOOLEAN, got none');
  return value !== 0;
}

function parseUtf8(reader: DerReader): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(reader.take(DER_TAG.UTF8, 'UTF8String'));
  } catch (cause) {
    if (cause instanceof TpmError) throw cause;
    throw reader.refuse('expected UTF-8 in UTF8String');
  }
}

function parseCommands(reader: DerReader): readonly KeyFileCommand[] {
  return parseList(reader, 'policy', parseCommand);
}

function parseCommand(reader: DerReader): KeyFileCommand {
  const command = reader.sequence('TPMPolicy');
  const commandCode = whole(command.explicit(0, 'commandCode'), (code) => code.number('commandCode'));
  const commandPolicy = whole(command.explicit(1, 'commandPolicy'), (body) =>
    body.take(DER_TAG.OCTET_STRING, 'commandPolicy').slice(),
  );
  command.finish();
  if (commandCode !== undefined && commandPolicy) return { commandCode, commandPolicy };
  throw command.refuse('expected commandCode and commandPolicy');
}

function parseAuthPolicy(reader: DerReader): KeyFileAuthPolicy {
  const entry = reader.sequence('TPMAuthPolicy');
  const name = whole(entry.explicit(0, 'name'), parseUtf8);
  const policy = whole(entry.explicit(1, 'policy'), parseCommands);
  entry.finish();
  if (!policy) throw entry.refuse('expected a policy');
  return name === undefined ? { policy } : { name, policy };
}

function parseList<T>(reader: DerReader, field: string, parse: (reader: DerReader) => T): readonly T[] {
  const list = reader.sequence(field);
  const elements: T[] = [];
  while (!list.isDone) {
    if (elements.length === MAX_ELEMENTS) throw list.refuse(`expected at most ${MAX_ELEMENTS} elements`);
    elements.push(parse(list));
  }
  return elements;
}

function encodeCommands(commands: readonly KeyFileCommand[]): Uint8Array {
  return derSequence(
    ...commands.map(({ commandCode, commandPolicy }) =>
      derSequence(derExplicit(0, derInteger(u32Bytes(commandCode))), derExplicit(1, derOctetString(commandPolicy))),
    ),
  );
}

function encodeAuthPolicy({ name, policy }: KeyFileAuthPolicy): Uint8Array {
  const named = name === undefined ? NONE : derExplicit(0, derUtf8(name));
  return derSequence(concat(named, derExplicit(1, encodeCommands(policy))));
}

/** What the draft forbids (section 3.1), in words. */
function problemOf(file: KeyFile): string | undefined {
  const kind = file.parent >>> 24;
  if (kind !== 0x81 && kind !== 0x40) {
    return `expected a persistent handle or a hierarchy as parent, got 0x${file.parent.toString(16)}`;
  }
  if ((file.type === 'importable') !== (file.secret !== undefined)) {
    return 'expected a secret for an importable key and for no other';
  }
  if (file.type === 'sealed' && file.public.type !== TPM_ALG.KEYEDHASH) return 'expected a keyed-hash object to unseal';
  const commands = [file.policy ?? [], ...(file.authPolicy ?? []).map(({ policy }) => policy)];
  if (commands.length > MAX_ELEMENTS || commands.some(({ length }) => length > MAX_ELEMENTS)) {
    return `expected at most ${MAX_ELEMENTS} policy commands`;
  }
  return undefined;
}

const LABEL = 'TSS2 PRIVATE KEY';
const NONE = new Uint8Array(0);
/** Early writers put 0 for the owner hierarchy. */
const OLD_OWNER = 0x40000001;
/** Room for a dozen approved policies with RSA-4096 signatures; keeps a hostile file from costing memory. */
const MAX_FILE = 0x10000;
const MAX_ELEMENTS = 64;
const TYPES: Readonly<Record<KeyFileType, Uint8Array>> = {
  loadable: derObject(0x67, 0x81, 0x05, 0x0a, 1, 3),
  importable: derObject(0x67, 0x81, 0x05, 0x0a, 1, 4),
  sealed: derObject(0x67, 0x81, 0x05, 0x0a, 1, 5),
};
