/** The counter: its value is in the PAL's replay-protected state and nowhere else. */
import {
  dispatch,
  readState,
  TZ_COMMAND_CLOSE,
  TZ_COMMAND_OPEN,
  TZ_ERROR_ILLEGAL_ARGUMENT,
  TZ_ERROR_NOT_IMPLEMENTED,
  TZ_ERROR_SECURITY,
  TZ_SUCCESS,
  TZIDecodeUint32,
  TZIEncodeUint32,
  tzi_encode_buffer_t,
  writeState,
} from '@casemate/tz/assembly';

const ADD: u32 = 1;
const READ: u32 = 2;

/** The entry. */
export function pal(command: u32, input: usize, output: usize, returnValue: usize): void {
  dispatch(handle, command, input, output, returnValue);
}

function handle(command: u32, input: tzi_encode_buffer_t, output: tzi_encode_buffer_t): u32 {
  switch (command) {
    case TZ_COMMAND_OPEN:
    case TZ_COMMAND_CLOSE:
      return TZ_SUCCESS;
    case ADD:
      return add(input, output);
    case READ:
      return answer(output, readState());
    default:
      return TZ_ERROR_NOT_IMPLEMENTED;
  }
}

/** Only upwards: adds a number above 0. The state is stored, and the TPM has recorded it, before anybody sees the answer. */
function add(input: tzi_encode_buffer_t, output: tzi_encode_buffer_t): u32 {
  const amount = TZIDecodeUint32(input);
  if (input.uiRetVal != 0) return input.uiRetVal;
  const state = readState();
  if (state === null) return TZ_ERROR_SECURITY;
  const value = valueOf(state);
  if (amount == 0 || value > u64.MAX_VALUE - amount) return TZ_ERROR_ILLEGAL_ARGUMENT;
  const next = new Uint8Array(8);
  store<u64>(next.dataStart, value + amount);
  return writeState(next) == 0 ? answer(output, next) : TZ_ERROR_SECURITY;
}

/** The value in two words, the low one first. */
function answer(output: tzi_encode_buffer_t, state: Uint8Array | null): u32 {
  if (state === null) return TZ_ERROR_SECURITY;
  const value = valueOf(state);
  TZIEncodeUint32(output, <u32>value);
  TZIEncodeUint32(output, <u32>(value >> 32));
  return TZ_SUCCESS;
}

function valueOf(state: Uint8Array): u64 {
  return state.length == 8 ? load<u64>(state.dataStart) : 0;
}
