/** The application's side: opening an isolate, registering PALs in it, and calling them. */
import { TrustvisorError } from './error.js';
import type { InvokeOptions, InvokeResult, LastRequest, PalQuote, TrustvisorOptions } from './options.js';

/** A registered PAL. */
export interface Pal extends AsyncDisposable {
  /** The name in its image. */
  readonly name: string;
  /** The version in its image. */
  readonly version: string;
  /** SHA-256 of its image. */
  readonly measurement: Uint8Array;
  /** TPMT_PUBLIC of the key that signs its quotes: P-256, restricted, its own, the same at every registration on this TPM. */
  readonly identity: Uint8Array;
  /** For a replay-protected PAL: the last request in its history before this registration. */
  readonly lastRequest: LastRequest | undefined;
  /**
   * Calls the entry. `input` is the content behind the 16-byte header of the PAL's input buffer
   * (tzi_encode_buffer_t: u32 return value 0, size = capacity, offset 0, size used = input length; little-endian), which
   * the isolate writes; `output` is what the PAL put behind the header of its output buffer, as many bytes as that
   * header's offset says (the encoder's position). Calls of one PAL run one after another, those of several side by side.
   *
   * Throws {@link TrustvisorError}: `fault`, `timeout`, `aborted`, `memory`, `input`, `closed`, `busy`; a
   * replay-protected PAL also `replay`, `sealed-state`, `store` and `tpm`. After a fault, a timeout or an abort the PAL
   * goes on as if it were newly registered: fresh memory, fresh uPCRs.
   */
  invoke(command: number, input: Uint8Array, options?: InvokeOptions): Promise<InvokeResult>;
  /** A TPM2_Quote over uPCRs (uPCR 0 unless given) with `nonce` (at most 64 bytes) as qualifying data. */
  quote(nonce: Uint8Array, options?: { readonly pcrs?: readonly number[] }): Promise<PalQuote>;
  /** Wipes the PAL's memory and keys in the isolate and forgets it. */
  unregister(): Promise<void>;
}

/** An isolate with its PALs. */
export interface Trustvisor extends AsyncDisposable {
  /** The engine that runs PALs. */
  readonly engine: 'wasm' | 'kvm';
  /** Whether the master secret is gone at the end: nothing sealed outlives this Trustvisor. */
  readonly ephemeral: boolean;
  /** The isolate's process, where it was started here. */
  readonly pid: number | undefined;
  /**
   * Registers an image: measures it into uPCR 0 of a new micro-TPM and gets it ready to run. Throws
   * {@link TrustvisorError} with code `refused` where it does not load, `memory` where it asks for too much, and for a
   * replay-protected one `replay` or `sealed-state` where its state is not the latest, or not authentic.
   */
  register(image: Uint8Array, options?: { readonly timeLimit?: number }): Promise<Pal>;
  /** Unregisters all PALs and ends the isolate. */
  close(): Promise<void>;
}

/**
 * Starts an isolate and gets its master secret from the platform TPM. Throws {@link TrustvisorError} with code `refused`
 * where there is no TPM, the PCRs do not match, or the index is gone although there is sealed state.
 */
export async function openTrustvisor(options: TrustvisorOptions): Promise<Trustvisor> {
  if (options.engine === 'kvm') {
    throw new TrustvisorError('unsupported-engine', 'open Trustvisor: the engine kvm is not there; use wasm');
  }
  throw new TrustvisorError('unsupported-engine', 'open Trustvisor: the engine is not there yet');
}
