/** What a Trustvisor and a PAL are made from, and what they give back. */
import type { Duplex } from 'node:stream';
import type { TpmTransport } from '@casemate/tpm';
import type { Lending } from './shared-memory.js';
import type { BlobStore } from './store.js';

/** What {@link openTrustvisor} is made from. */
export interface TrustvisorOptions {
  /**
   * The platform TPM. The isolate opens salted, encrypted sessions of its own through it. Without one nothing can be
   * sealed, and the call is refused unless `insecureAllowEphemeral` is set. The caller stays its owner and closes it.
   */
  readonly tpm?: TpmTransport;
  /**
   * Which engines run PALs; `wasm` unless given. With `kvm`, images for x86-64 run too, each in a virtual machine of its own;
   * where /dev/kvm is missing or forbidden, registering such an image fails with `unsupported-engine` and says so.
   */
  readonly engine?: 'wasm' | 'kvm';
  /** Where sealed state lies; see {@link BlobStore}. */
  readonly store: BlobStore;
  /**
   * The PCRs (SHA-256 bank, 0 to 23) whose values the master secret is bound to when it is made: `[7]` unless given, the
   * Secure Boot policy, which stays the same over updates of kernel and firmware. An empty list is refused unless
   * `insecureAllowAnyPlatformState` is set.
   */
  readonly pcrs?: readonly number[];
  /** The authorization value of the TPM's owner hierarchy; empty unless given. It is proved in sessions, and never sent to the TPM. */
  readonly ownerAuth?: Uint8Array;
  /** The first of the TPM's NV indexes that Trustvisor uses; 0x0180c000 unless given. The 130 indexes from it on are its own. */
  readonly nvBase?: number;
  /**
   * The platform PCR (0 to 23, all banks) that the TrustVisor key is extended into, before any PAL runs. Unless given, none is. The
   * event for the log is `Trustvisor.identityEvent`.
   */
  readonly identityPcr?: number;
  /** The name (nameAlg and digest) of the TPM's storage root key, where it is known: another one is refused. */
  readonly storageKeyName?: Uint8Array;
  /** The largest memory of one PAL, in bytes; 256 MiB unless given. */
  readonly memoryLimit?: number;
  /** Called with each line that a PAL prints. What it throws is lost. */
  readonly onPrint?: (pal: { readonly name: string; readonly version: string }, text: string) => void;
  /** Without a TPM: work with a master secret that is gone at the end. Sealed data and identities do not outlive the Trustvisor. */
  readonly insecureAllowEphemeral?: boolean;
  /** Allows an empty `pcrs`: the master secret is then bound to the TPM, but to no state of the platform. */
  readonly insecureAllowAnyPlatformState?: boolean;
  /** A stream to an isolate that runs elsewhere (`serveIsolate` of `@casemate/trustvisor/server`); unless given, a process is started. */
  readonly isolate?: Duplex;
}

/** How a PAL is registered. */
export interface RegisterOptions {
  /** Milliseconds for loading, and for carrying out a request that a crash cut off; 30,000 unless given. */
  readonly timeLimit?: number;
  /** What kind of key signs the PAL's quotes; `ecc-p256` unless given. An RSA key is made at the first time and kept in the store. */
  readonly identityKey?: 'ecc-p256' | 'rsa-2048';
  /**
   * Signs with the key that all PALs share which are registered so: who sees quotes of two of them sees that they are of one platform.
   * Unless given, each PAL has a key of its own, which tells nothing of the others.
   */
  readonly sharedIdentity?: boolean;
  /**
   * Whose signature the image must have: SHA-256 of SubjectPublicKeyInfo, at most 64. An empty list accepts any signer. Unless given,
   * the image need not be signed; a signature that it has must be authentic all the same.
   */
  readonly signers?: readonly Uint8Array[];
  /**
   * For a replay-protected PAL, when the TPM's NV memory is written, of which it bears some 100,000 writes. `every-request`, unless
   * given: with each request, so that nothing is lost whenever the power goes. `checkpoints`: requests go into the TPM's working
   * memory, and NV memory is written when the history is opened and when it is closed: at `unregister`, at `close`, and when no request
   * came for a while. The protection is the same, but the price of a power loss or a reset of the TPM between opening and closing is
   * that the state is refused for good, for nobody knows any more which one was the latest. A program that is killed loses nothing.
   * The mode is chosen when the history begins and stays.
   */
  readonly replay?: 'every-request' | 'checkpoints';
  /** With `checkpoints`: after how many milliseconds without a request the history is closed until the next one; 1,000 unless given. */
  readonly checkpointAfter?: number;
}

/** How one call may run. */
export interface InvokeOptions {
  /** Milliseconds that the PAL may run, 1 to 3,600,000; 10,000 unless given. */
  readonly timeLimit?: number;
  /** Ends the call with code `aborted`. */
  readonly signal?: AbortSignal;
  /**
   * Memory that the PAL may use until it returns: its references 0, 1, 2… in this order, at most 16. On `kvm` the pages are mapped
   * into its address space and taken out again; on `wasm`, and where the isolate is elsewhere, the bytes are copied there and
   * back. After a fault what it could write may hold anything. A replay-protected PAL takes none.
   */
  readonly lend?: readonly Lending[];
}

/** What a PAL's entry returned. */
export interface InvokeResult {
  /** What the PAL wrote to its fourth parameter; 0 where it wrote nothing. */
  readonly returnCode: number;
  /** The records that the PAL put behind the header of its output buffer. */
  readonly output: Uint8Array;
}

/** What a PAL's entry with parameters of its own returned. */
export interface InvokeWithResult {
  /** What the function returned; 0 where it returns nothing. */
  readonly returnCode: number;
  /** For each parameter: the bytes behind a pointer that goes out, all of its size; `undefined` for all others. */
  readonly values: readonly (Uint8Array | undefined)[];
}

/** A TPM2_Quote by the PAL's micro-TPM. */
export interface PalQuote {
  /** TPMS_ATTEST. */
  readonly quoted: Uint8Array;
  /** TPMT_SIGNATURE by the PAL's identity key. */
  readonly signature: Uint8Array;
}

/** The last request that a replay-protected PAL carried out, as its sealed state remembers it. */
export interface LastRequest {
  /** How many requests its history holds, this one included. */
  readonly sequence: bigint;
  /** The command of the request. */
  readonly command: number;
  /** SHA-256 of the request's input. */
  readonly inputDigest: Uint8Array;
  /** `fault` where the PAL trapped: the request is then part of the history, and the state was left as it was. */
  readonly outcome: 'returned' | 'fault';
  /** What the PAL returned. */
  readonly returnCode: number;
  /** What the PAL put out. */
  readonly output: Uint8Array;
  /** Whether the request had been cut off by a crash and was carried out at this registration. */
  readonly rolledForward: boolean;
}
