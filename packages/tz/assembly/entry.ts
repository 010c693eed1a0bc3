/** The way into a service: buffers at addresses, and the return value. */
import { tzi_encode_buffer_t } from './marshal';
import { TZ_SUCCESS } from './return-code';

/** What a service does with a command: decode from `input`, encode into `output`, return 0 or an error. */
export type Handler = (command: u32, input: tzi_encode_buffer_t, output: tzi_encode_buffer_t) => u32;

/**
 * Runs `handler` on the buffers at these addresses. An error of decoding or encoding that the handler did not look at
 * becomes the return value. `export function pal(…) { dispatch(handler, …) }`.
 */
export function dispatch(handler: Handler, command: u32, input: usize, output: usize, returnValue: usize): void {
  const from = changetype<tzi_encode_buffer_t>(input);
  const to = changetype<tzi_encode_buffer_t>(output);
  let code = handler(command, from, to);
  if (code == TZ_SUCCESS) code = from.uiRetVal;
  if (code == TZ_SUCCESS) code = to.uiRetVal;
  store<u32>(returnValue, code);
}
