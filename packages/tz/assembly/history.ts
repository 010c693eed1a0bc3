/**
 * Services whose state cannot be rolled back, in Memoir's form: the author says how a state begins and how a request moves it on;
 * image and library do the rest (`replayProtected` at linking).
 */
import { tzi_encode_buffer_t } from './marshal';
import {
  TZ_COMMAND_CLOSE,
  TZ_COMMAND_OPEN,
  TZ_COMMAND_PROPERTIES,
  TZ_ERROR_NOT_IMPLEMENTED,
  TZ_ERROR_SECURITY,
  TZ_SUCCESS,
} from './return-code';
import { readState, writeState } from './services';

/** Gives the first state, of at least one byte. Runs once in the life of the service; must do the same when repeated. */
export type Initialize = () => Uint8Array;

/** The state that a request finds; what it leaves in `state` is the next one. */
export class History {
  constructor(public state: Uint8Array) {}
}

/**
 * Carries out one request: decodes from `input`, encodes into `output`, sets `history.state` to what it becomes, returns 0 or an error.
 * The same state and request must give the same: after a crash the request is carried out again. An error leaves the state as it was.
 */
export type Advance = (
  history: History,
  command: u32,
  input: tzi_encode_buffer_t,
  output: tzi_encode_buffer_t,
) => u32;

/**
 * Runs one request of such a service. Opening and closing sessions succeeds and touches no state; properties there are none.
 * TZ_ERROR_SECURITY where the image is not replay-protected or the new state is refused.
 * `export function pal(…) { advanceHistory(initialize, advance, …) }`.
 */
export function advanceHistory(
  initialize: Initialize,
  advance: Advance,
  command: u32,
  input: usize,
  output: usize,
  returnValue: usize,
): void {
  const from = changetype<tzi_encode_buffer_t>(input);
  const to = changetype<tzi_encode_buffer_t>(output);
  store<u32>(returnValue, answer(initialize, advance, command, from, to));
}

function answer(
  initialize: Initialize,
  advance: Advance,
  command: u32,
  from: tzi_encode_buffer_t,
  to: tzi_encode_buffer_t,
): u32 {
  if (command == TZ_COMMAND_OPEN || command == TZ_COMMAND_CLOSE) return TZ_SUCCESS;
  if (command == TZ_COMMAND_PROPERTIES) return TZ_ERROR_NOT_IMPLEMENTED;
  const stored = readState();
  if (stored === null) return TZ_ERROR_SECURITY;
  const before = stored.length > 0 ? stored : initialize();
  const history = new History(before);
  let code = advance(history, command, from, to);
  if (code == TZ_SUCCESS) code = from.uiRetVal;
  if (code == TZ_SUCCESS) code = to.uiRetVal;
  if (code != TZ_SUCCESS) return code;
  const after = history.state;
  if (after.length == 0) return TZ_ERROR_SECURITY;
  return writeState(after) == 0 ? TZ_SUCCESS : TZ_ERROR_SECURITY;
}
