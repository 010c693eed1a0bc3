/** A statement as the data of an EV_EVENT_TAG event. PC Client Platform Firmware Profile 1.06, section 10.4.2.1. */
import { TaggedEvent } from '@casemate/firmware';
import { decode, encode, WireError } from '@casemate/wire';
import { AttestationError } from './error.js';
import { encodeStatement, parseStatement, type Statement } from './statement.js';

/** The tag of our events, "CSMT". */
export const STATEMENT_TAG = 0x43534d54;

/** The data of the event for `statement`; its hash is what is extended. Throws {@link AttestationError} `bad-input`. */
export function encodeStatementEvent(statement: Statement): Uint8Array {
  return encode(TaggedEvent, { taggedEventID: STATEMENT_TAG, taggedEventData: encodeStatement(statement) });
}

/** The inverse of {@link encodeStatementEvent}. Whoever wrote the log controls the input. Throws {@link AttestationError} `malformed`. */
export function parseStatementEvent(event: Uint8Array): Statement {
  return parseStatement(readTag(event));
}

function readTag(event: Uint8Array): Uint8Array {
  try {
    const { taggedEventID, taggedEventData } = decode(TaggedEvent, event);
    if (taggedEventID === STATEMENT_TAG) return taggedEventData;
  } catch (cause) {
    if (!(cause instanceof WireError)) throw cause;
    throw new AttestationError('malformed', `parse statement event: ${cause.message}`, { cause });
  }
  throw new AttestationError('malformed', 'parse statement event: its tag is not ours');
}
