/** A counter that cannot be turned back: its value lives in the PAL's replay-protected state and nowhere else. */
import {
  dispatch,
  print,
  readState,
  TZ_COMMAND_CLOSE,
  TZ_COMMAND_OPEN,
  TZ_ERROR_NOT_IMPLEMENTED,
  TZ_ERROR_SECURITY,
  TZ_SUCCESS,
  TZIEncodeUint32,
  tzi_encode_buffer_t,
  writeState,
} from '@casemate/tz/assembly';

const INCREMENT: u32 = 1;
const READ: u32 = 2;

/** The service entry. */
export function pal(command: u32, input: usize, output: usize, returnValue: usize): void {
  dispatch(handle, command, input, output, returnValue);
}

function handle(command: u32, input: tzi_encode_buffer_t, output: tzi_encode_buffer_t): u32 {
  switch (command) {
    case TZ_COMMAND_OPEN:
    case TZ_COMMAND_CLOSE:
      return TZ_SUCCESS;
    case INCREMENT:
      return increment(output);
    case READ:
      return read(output);
    default:
      return TZ_ERROR_NOT_IMPLEMENTED;
  }
}

/** Adds one and answers with the new value: low word, high word. */
function increment(output: tzi_encode_buffer_t): u32 {
  const state = readState();
  if (state === null) return TZ_ERROR_SECURITY;
  const value = counterOf(state) + 1;
  const next = new Uint8Array(8);
  store<u64>(next.dataStart, value);
  if (writeState(next) != 0) return TZ_ERROR_SECURITY;
  print('counter is ' + value.toString());
  return answer(output, value);
}

/** Answers with the value as it is. */
function read(output: tzi_encode_buffer_t): u32 {
  const state = readState();
  if (state === null) return TZ_ERROR_SECURITY;
  return answer(output, counterOf(state));
}

function answer(output: tzi_encode_buffer_t, value: u64): u32 {
  TZIEncodeUint32(output, <u32>value);
  TZIEncodeUint32(output, <u32>(value >> 32));
  return TZ_SUCCESS;
}

function counterOf(state: Uint8Array): u64 {
  return state.length == 8 ? load<u64>(state.dataStart) : 0;
}
