/** The service that the conformance suite calls; test/probe-service.ts is the same in TypeScript. */
import {
  dispatch,
  print,
  svc_time_elapsed_us,
  svc_utpm_id_getpub,
  svc_utpm_pcr_extend,
  svc_utpm_pcr_read,
  svc_utpm_quote,
  svc_utpm_rand,
  svc_utpm_seal,
  svc_utpm_unseal,
  TZ_COMMAND_CLOSE,
  TZ_COMMAND_OPEN,
  TZ_ERROR_ACCESS_DENIED,
  TZ_ERROR_GENERIC,
  TZ_ERROR_NOT_IMPLEMENTED,
  TZ_SUCCESS,
  TZ_TYPE_ARRAY,
  TZ_TYPE_NONE,
  TZ_TYPE_UINT32,
  TZIDecodeArraySpace,
  TZIDecodeGetType,
  TZIDecodeUint32,
  TZIEncodeArray,
  TZIEncodeArraySpace,
  TZIEncodeUint32,
  tzi_encode_buffer_t,
} from '../../assembly';

export function pal(command: u32, input: usize, output: usize, returnValue: usize): void {
  dispatch(handle, command, input, output, returnValue);
}

function handle(command: u32, input: tzi_encode_buffer_t, output: tzi_encode_buffer_t): u32 {
  switch (command) {
    case TZ_COMMAND_OPEN:
      return open(input, output);
    case TZ_COMMAND_CLOSE:
      print('closed');
      return TZ_SUCCESS;
    case 1:
      return echo(input, output);
    case 2:
      TZIEncodeUint32(output, 77);
      return TZIDecodeUint32(input);
    case 3:
      while (true) {}
    case 4:
      unreachable();
    case 5:
      TZIEncodeArraySpace(output, TZIDecodeUint32(input));
      return TZ_SUCCESS;
    case 6:
      return pcr(output);
    case 7:
      return quote(input, output);
    case 8:
      return seal(input, output);
    case 9:
      return unseal(input, output);
    case 10:
      return identity(output);
    default:
      return TZ_ERROR_NOT_IMPLEMENTED;
  }
}

function open(input: tzi_encode_buffer_t, output: tzi_encode_buffer_t): u32 {
  const login = TZIDecodeUint32(input);
  const data = TZIDecodeArraySpace(input);
  TZIEncodeUint32(output, login);
  if (data !== null && data.length == 4) return TZ_ERROR_ACCESS_DENIED;
  return echo(input, output);
}

function echo(input: tzi_encode_buffer_t, output: tzi_encode_buffer_t): u32 {
  let type = TZIDecodeGetType(input);
  while (type != TZ_TYPE_NONE) {
    if (type == TZ_TYPE_UINT32) TZIEncodeUint32(output, TZIDecodeUint32(input));
    if (type == TZ_TYPE_ARRAY) TZIEncodeArray(output, TZIDecodeArraySpace(input));
    type = TZIDecodeGetType(input);
  }
  // What is left is no record: asking for it sets the error that `dispatch` returns.
  if (input.uiOffset != input.uiSizeUsed) TZIDecodeUint32(input);
  return TZ_SUCCESS;
}

/** Takes a nonce and answers a quote over uPCR 0: attest, signature. */
function quote(input: tzi_encode_buffer_t, output: tzi_encode_buffer_t): u32 {
  const nonce = TZIDecodeArraySpace(input);
  if (nonce === null) return TZ_ERROR_GENERIC;
  const made = svc_utpm_quote(nonce, 1);
  if (made === null) return TZ_ERROR_GENERIC;
  TZIEncodeArray(output, made.attest);
  TZIEncodeArray(output, made.signature);
  return TZ_SUCCESS;
}

function seal(input: tzi_encode_buffer_t, output: tzi_encode_buffer_t): u32 {
  const data = TZIDecodeArraySpace(input);
  if (data === null) return TZ_ERROR_GENERIC;
  const blob = svc_utpm_seal(data);
  TZIEncodeArray(output, blob);
  return blob === null ? TZ_ERROR_GENERIC : TZ_SUCCESS;
}

function unseal(input: tzi_encode_buffer_t, output: tzi_encode_buffer_t): u32 {
  const blob = TZIDecodeArraySpace(input);
  if (blob === null) return TZ_ERROR_GENERIC;
  const data = svc_utpm_unseal(blob);
  TZIEncodeArray(output, data);
  return data === null ? TZ_ERROR_GENERIC : TZ_SUCCESS;
}

function identity(output: tzi_encode_buffer_t): u32 {
  TZIEncodeArray(output, svc_utpm_id_getpub());
  return svc_time_elapsed_us() < 0 ? TZ_ERROR_GENERIC : TZ_SUCCESS;
}

/** Answers uPCR 1, extends it by its own value, answers it again, and 16 random bytes. */
function pcr(output: tzi_encode_buffer_t): u32 {
  const before = svc_utpm_pcr_read(1);
  if (before === null || svc_utpm_pcr_extend(1, before) != 0) return TZ_ERROR_GENERIC;
  TZIEncodeArray(output, before);
  TZIEncodeArray(output, svc_utpm_pcr_read(1));
  TZIEncodeArray(output, svc_utpm_rand(16));
  return svc_utpm_pcr_read(8) === null ? TZ_SUCCESS : TZ_ERROR_GENERIC;
}
