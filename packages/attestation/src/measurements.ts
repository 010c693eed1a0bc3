/** Statements as events of a TCG event log: EV_EVENT_TAG, with the hash of the event's data as digest in every bank. */

import {
  type BankAlgorithm,
  type BankName,
  bankById,
  bankByName,
  EV,
  type EventLog,
  FirmwareError,
  type LogEvent,
  parseEventLog,
  SpecIdEvent,
  specIdEvent,
} from '@casemate/firmware';
import { encode } from '@casemate/wire';
import { AttestationError } from './error.js';
import { equalBytes } from './octets.js';
import { pcrOf, type Statement } from './statement.js';
import { encodeStatementEvent, parseStatementEvent } from './statement-event.js';

/** A statement that a log holds. */
export interface Measurement {
  /** PCR that it was extended into. */
  readonly pcr: number;
  /** What was measured. */
  readonly statement: Statement;
}

/** One digest a bank. */
export type BankDigests = { readonly [Bank in BankName]?: Uint8Array };

/** The banks of a log whose hashes are known, by name and in the log's order. */
export function banksOf(log: EventLog): readonly BankName[] {
  return (log.specId?.digestSizes ?? []).flatMap(({ algorithmId }) => bankById(algorithmId)?.name ?? []);
}

/** The digests of an event by the names of their banks. */
export function digestsByBank(event: LogEvent): BankDigests {
  return Object.fromEntries(
    event.digests.flatMap(({ alg, digest }) => {
      const bank = bankById(alg);
      return bank ? [[bank.name, digest]] : [];
    }),
  );
}

/** A log without events for a TPM with these banks. Throws {@link AttestationError} `unsupported` for a bank without a known hash. */
export function emptyLog(banks: readonly string[]): EventLog {
  const sizes = banks.map((name) => {
    const { id, size } = knownBank(name);
    return { algorithmId: id, digestSize: size };
  });
  return { specId: specIdEvent(sizes), events: [] };
}

/** The event for `statement` in a log with these banks. */
export function measurementEvent(banks: readonly BankName[], statement: Statement): LogEvent {
  const event = encodeStatementEvent(statement);
  const digests = banks.map((name) => {
    const bank = knownBank(name);
    return { alg: bank.id, digest: bank.hash(event) };
  });
  return { pcrIndex: pcrOf(statement), eventType: EV.EV_EVENT_TAG, digests, event };
}

/**
 * Parses a measurement log and reads its statements. Only our events may stand in it, each with the right digest in every bank and
 * in the PCR of its kind; so what is said is what was extended, if the replay fits. Throws {@link AttestationError} `malformed`.
 */
export function parseMeasurements(bytes: Uint8Array): {
  readonly log: EventLog;
  readonly measurements: readonly Measurement[];
} {
  const log = parseLog(bytes);
  const { specId } = log;
  if (!specId) throw refusal('expected the crypto-agile form, got another');
  // No PCR covers the header, so only the one that we write is accepted.
  if (!equalBytes(encode(SpecIdEvent, specId), encode(SpecIdEvent, specIdEvent(specId.digestSizes)))) {
    throw refusal('its Spec ID event is not ours');
  }
  const banks = specId.digestSizes.map(({ algorithmId, digestSize }) => {
    const bank = bankById(algorithmId);
    if (bank?.size !== digestSize)
      throw refusal(`bank 0x${algorithmId.toString(16)} has no known hash of ${digestSize} bytes`);
    return bank;
  });
  return { log, measurements: log.events.map((event, i) => readMeasurement(event, banks, i)) };
}

function parseLog(bytes: Uint8Array): EventLog {
  try {
    return parseEventLog(bytes);
  } catch (cause) {
    if (!(cause instanceof FirmwareError)) throw cause;
    throw new AttestationError('malformed', `parse measurement log: ${cause.message}`, { cause });
  }
}

function readMeasurement(event: LogEvent, banks: readonly BankAlgorithm[], index: number): Measurement {
  const statement = readStatement(event, index);
  if (event.pcrIndex !== pcrOf(statement)) {
    throw refusal(
      `event ${index}: expected a ${statement.type} statement in PCR ${pcrOf(statement)}, got PCR ${event.pcrIndex}`,
    );
  }
  for (const bank of banks) {
    const digest = event.digests.find(({ alg }) => alg === bank.id)?.digest;
    if (!digest || !equalBytes(digest, bank.hash(event.event))) {
      throw refusal(`event ${index}: its ${bank.name} digest is not the hash of its data`);
    }
  }
  return { pcr: event.pcrIndex, statement };
}

function readStatement({ eventType, event }: LogEvent, index: number): Statement {
  if (eventType !== EV.EV_EVENT_TAG) throw refusal(`event ${index}: expected EV_EVENT_TAG`);
  try {
    return parseStatementEvent(event);
  } catch (cause) {
    if (!(cause instanceof AttestationError)) throw cause;
    throw refusal(`event ${index}: ${cause.message}`, cause);
  }
}

function knownBank(name: string): BankAlgorithm {
  const bank = bankByName(name);
  if (bank) return bank;
  throw new AttestationError(
    'unsupported',
    `measure: the TPM has a PCR bank ${name}, whose hash cannot be computed here`,
  );
}

function refusal(problem: string, cause?: unknown): AttestationError {
  return new AttestationError('malformed', `parse measurement log: ${problem}`, cause === undefined ? {} : { cause });
}
