/** TCG event logs, crypto-agile and SHA-1. TCG PC Client Platform Firmware Profile 1.06, section 10.2; TCG EFI Protocol 1.2 for the old form. */
import {
  array,
  bytes,
  type Codec,
  checked,
  decode,
  encode,
  type Infer,
  Reader,
  repeated,
  sizedBytes,
  struct,
  u8,
  u16le,
  u32le,
  WireError,
} from '@casemate/wire';
import { concatBytes } from '@noble/hashes/utils.js';
import { FirmwareError, refusing } from './error.js';
import { EV } from './event-types.js';
import { equalBytes } from './octets.js';

/** Bounds on a log, generous against what firmware writes (about 100 events and 64 KiB) and against kernel command lines. */
export const EVENT_LOG_LIMITS = {
  /** Bytes of a whole log. */
  logBytes: 16 * 1024 * 1024,
  /** Events in a log. */
  events: 65_536,
  /** Bytes of one event's data. */
  eventBytes: 4 * 1024 * 1024,
  /** Banks in a Spec ID event. */
  algorithms: 16,
  /** Bytes of one digest. */
  digestBytes: 64,
} as const;

const TPM_ALG_SHA1 = 0x0004;
const SHA1_SIZE = 20;
const MAX_PCR = 31;
const SPEC_ID_03 = signature('Spec ID Event03');

/** One bank of a crypto-agile log: TCG_EfiSpecIdEventAlgorithmSize. */
export const SpecIdAlgorithm = struct('TCG_EfiSpecIdEventAlgorithmSize', {
  algorithmId: u16le,
  digestSize: checked('digestSize', u16le, (size) =>
    size >= 1 && size <= EVENT_LOG_LIMITS.digestBytes
      ? undefined
      : `expected 1 to ${EVENT_LOG_LIMITS.digestBytes} bytes, got ${size}`,
  ),
});
/** One bank of a crypto-agile log: TPM_ALG_ID and digest length in bytes. */
export type SpecIdAlgorithm = Infer<typeof SpecIdAlgorithm>;

const AlgorithmList = checked(
  'digestSizes',
  array('digestSizes', u32le, SpecIdAlgorithm, { max: EVENT_LOG_LIMITS.algorithms }),
  (list) => {
    if (list.length === 0) return 'expected at least one algorithm, got none';
    return new Set(list.map((a) => a.algorithmId)).size === list.length ? undefined : 'an algorithm is listed twice';
  },
);

/** The first event of a crypto-agile log, which says its version and its banks: TCG_EfiSpecIDEvent. */
export const SpecIdEvent = struct('TCG_EfiSpecIDEvent', {
  signature: checked('signature', bytes('signature', 16), (value) =>
    equalBytes(value, SPEC_ID_03) ? undefined : 'expected "Spec ID Event03"',
  ),
  platformClass: u32le,
  specVersionMinor: u8,
  specVersionMajor: u8,
  specErrata: u8,
  uintnSize: u8,
  digestSizes: AlgorithmList,
  vendorInfo: sizedBytes('vendorInfo', u8, { max: 255 }),
});
/** What the Spec ID event says: platform class 0 client or 1 server, version, UINTN size 1 or 2 (32 or 64 bits), banks. */
export type SpecIdEvent = Infer<typeof SpecIdEvent>;

/** A digest of one event in one bank. */
export interface EventDigest {
  /** TPM_ALG_ID of the bank. */
  readonly alg: number;
  /** The value that was extended; its length is the one that the Spec ID event gives for `alg`. */
  readonly digest: Uint8Array;
}

/** One event of a log, in either form. */
export interface LogEvent {
  /** PCR that was extended, 0 to 31; any number where `eventType` is EV_NO_ACTION, which extends nothing. */
  readonly pcrIndex: number;
  /** One of {@link EV}, or a number that the specification does not name. */
  readonly eventType: number;
  /** At most one digest a bank; exactly one, SHA-1, in the old form. */
  readonly digests: readonly EventDigest[];
  /** Event data; what it means depends on `eventType`, and only some types bind it to the digests. */
  readonly event: Uint8Array;
}

/** A TCG event log. */
export interface EventLog {
  /** The Spec ID event of a crypto-agile log; `undefined` for the old SHA-1 form. */
  readonly specId: SpecIdEvent | undefined;
  /** The events in the order in which they were measured, without the Spec ID event of a crypto-agile log. */
  readonly events: readonly LogEvent[];
}

const EventData = sizedBytes('event', u32le, { max: EVENT_LOG_LIMITS.eventBytes });

const PcrEventStruct = struct('TCG_PCClientPCREvent', {
  pcrIndex: u32le,
  eventType: u32le,
  digest: bytes('digest', SHA1_SIZE),
  event: EventData,
});
const PcrEvent = checked('TCG_PCClientPCREvent', PcrEventStruct, problemOfIndex);
type PcrEvent = Infer<typeof PcrEvent>;
const Sha1Log = repeated('event log', PcrEvent, { max: EVENT_LOG_LIMITS.events });

/**
 * Parses a whole log (for instance `/sys/kernel/security/tpm0/binary_bios_measurements`) of either form. The form is told by
 * the first event. Whoever wrote the log is not trusted: only a replay that equals quoted PCR values makes it believable.
 * Throws {@link FirmwareError} `malformed`.
 */
export function parseEventLog(log: Uint8Array): EventLog {
  if (log.length > EVENT_LOG_LIMITS.logBytes) {
    const problem = `expected at most ${EVENT_LOG_LIMITS.logBytes} bytes, got ${log.length}`;
    throw new FirmwareError('malformed', `parse event log: ${problem}`);
  }
  return refusing('malformed', 'parse event log', () => {
    if (log.length === 0) return { specId: undefined, events: [] };
    const reader = new Reader(log);
    const first = PcrEvent.read(reader);
    return isCryptoAgile(first) ? readCryptoAgile(first, reader) : readSha1(log);
  });
}

/**
 * Encodes a log in the form that `specId` selects; the inverse of {@link parseEventLog}, byte for byte. Throws
 * {@link FirmwareError} `bad-input` where a digest belongs to no bank of the log or has the wrong length.
 */
export function encodeEventLog(log: EventLog): Uint8Array {
  return refusing('bad-input', 'encode event log', () => {
    if (log.specId === undefined) return encode(Sha1Log, log.events.map(toSha1Event));
    const header = encode(PcrEvent, {
      pcrIndex: 0,
      eventType: EV.EV_NO_ACTION,
      digest: new Uint8Array(SHA1_SIZE),
      event: encode(SpecIdEvent, log.specId),
    });
    const events = encode(repeated('event log', pcrEvent2(log.specId), { max: EVENT_LOG_LIMITS.events }), log.events);
    return concatBytes(header, events);
  });
}

/** A Spec ID event for a crypto-agile log with the banks `digestSizes`: version 2.0, errata 0, 64-bit UINTN, no vendor data. */
export function specIdEvent(
  digestSizes: readonly SpecIdAlgorithm[],
  options: { readonly platformClass?: number } = {},
): SpecIdEvent {
  return {
    signature: SPEC_ID_03.slice(),
    platformClass: options.platformClass ?? 0,
    specVersionMinor: 0,
    specVersionMajor: 2,
    specErrata: 0,
    uintnSize: 2,
    digestSizes,
    vendorInfo: new Uint8Array(0),
  };
}

function isCryptoAgile(first: PcrEvent): boolean {
  return first.eventType === EV.EV_NO_ACTION && equalBytes(first.event.subarray(0, 16), SPEC_ID_03);
}

function readCryptoAgile(header: PcrEvent, reader: Reader): EventLog {
  if (header.pcrIndex !== 0 || header.digest.some((byte) => byte !== 0)) {
    throw new WireError('bad-value', 'decode Spec ID event', 'expected PCR 0 and a digest of zeros', 0);
  }
  const specId = decode(SpecIdEvent, header.event);
  const events = repeated('event log', pcrEvent2(specId), { max: EVENT_LOG_LIMITS.events }).read(reader);
  return { specId, events };
}

function readSha1(log: Uint8Array): EventLog {
  const events = decode(Sha1Log, log).map(({ digest, ...event }) => ({
    ...event,
    digests: [{ alg: TPM_ALG_SHA1, digest }],
  }));
  return { specId: undefined, events };
}

function toSha1Event({ digests, ...event }: LogEvent): PcrEvent {
  const [only] = digests;
  if (digests.length !== 1 || only?.alg !== TPM_ALG_SHA1) {
    throw new FirmwareError('bad-input', 'encode event log: the SHA-1 form takes exactly one SHA-1 digest an event');
  }
  return { ...event, digest: only.digest };
}

/** TCG_PCR_EVENT2 for the banks of one log: digest lengths are not in the event, they come from the Spec ID event. */
function pcrEvent2(specId: SpecIdEvent): Codec<LogEvent> {
  const digests = array('digests', u32le, tpmtHa(specId), { max: specId.digestSizes.length });
  const distinct = checked('digests', digests, (list) =>
    new Set(list.map(({ alg }) => alg)).size === list.length ? undefined : 'a bank has two digests',
  );
  const event2 = struct('TCG_PCR_EVENT2', { pcrIndex: u32le, eventType: u32le, digests: distinct, event: EventData });
  return checked('TCG_PCR_EVENT2', event2, problemOfIndex);
}

function tpmtHa(specId: SpecIdEvent): Codec<EventDigest> {
  const sizes = new Map(specId.digestSizes.map((a) => [a.algorithmId, bytes('digest', a.digestSize)]));
  return {
    name: 'TPMT_HA',
    read(r) {
      const at = r.offset;
      const alg = u16le.read(r);
      const codec = sizes.get(alg);
      if (codec) return { alg, digest: codec.read(r) };
      throw new WireError('bad-value', 'decode TPMT_HA', `the log has no bank 0x${alg.toString(16)}`, at);
    },
    write(w, value) {
      const codec = sizes.get(value.alg);
      if (!codec) throw w.refuse('TPMT_HA', `the log has no bank 0x${value.alg.toString(16)}`);
      u16le.write(w, value.alg);
      codec.write(w, value.digest);
    },
  };
}

function problemOfIndex(event: { readonly pcrIndex: number; readonly eventType: number }): string | undefined {
  if (event.eventType === EV.EV_NO_ACTION || event.pcrIndex <= MAX_PCR) return undefined;
  return `expected a PCR from 0 to ${MAX_PCR}, got ${event.pcrIndex}`;
}

function signature(text: string): Uint8Array {
  const padded = new Uint8Array(16);
  padded.set(new TextEncoder().encode(text));
  return padded;
}
