/** The counter: its value is in the PAL's replay-protected state and nowhere else. */
import {
  advanceHistory,
  History,
  TZ_ERROR_ILLEGAL_ARGUMENT,
  TZ_ERROR_NOT_IMPLEMENTED,
  TZ_SUCCESS,
  TZIDecodeUint32,
  TZIEncodeUint32,
  tzi_encode_buffer_t,
} from '@casemate/tz/assembly';

const ADD: u32 = 1;
const READ: u32 = 2;

/** The entry. */
export function pal(command: u32, input: usize, output: usize, returnValue: usize): void {
  advanceHistory(initialize, advance, command, input, output, returnValue);
}

/** A counter begins at 0. */
function initialize(): Uint8Array {
  return new Uint8Array(8);
}

/** The new value is stored, and the TPM has recorded the request, before anybody sees the answer. */
function advance(history: History, command: u32, input: tzi_encode_buffer_t, output: tzi_encode_buffer_t): u32 {
  if (command != ADD && command != READ) return TZ_ERROR_NOT_IMPLEMENTED;
  let value = load<u64>(history.state.dataStart);
  if (command == ADD) {
    const amount = TZIDecodeUint32(input);
    if (input.uiRetVal != 0) return input.uiRetVal;
    if (amount == 0 || value > u64.MAX_VALUE - amount) return TZ_ERROR_ILLEGAL_ARGUMENT; // only upwards
    value += amount;
    store<u64>(history.state.dataStart, value);
  }
  TZIEncodeUint32(output, <u32>value);
  TZIEncodeUint32(output, <u32>(value >> 32));
  return TZ_SUCCESS;
}
