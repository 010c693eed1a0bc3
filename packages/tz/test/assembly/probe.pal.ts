/** The service that the conformance suite calls; test/probe-service.ts is the same in TypeScript. */
import {
  classicPcrExtend,
  classicPcrRead,
  dispatch,
  incrementCounter,
  LentMemory,
  print,
  readCounter,
  SealPolicy,
  sealData,
  svc_time_elapsed_us,
  svc_tpmnvram_getsize,
  svc_tpmnvram_readall,
  svc_tpmnvram_writeall,
  svc_utpm_id_getpub,
  svc_utpm_pcr_extend,
  svc_utpm_pcr_read,
  svc_utpm_quote,
  svc_utpm_rand,
  svc_utpm_seal,
  svc_utpm_unseal,
  TZ_COMMAND_CLOSE,
  TZ_COMMAND_OPEN,
  TZ_COMMAND_PROPERTIES,
  TZ_ERROR_ACCESS_DENIED,
  TZ_ERROR_GENERIC,
  TZ_ERROR_NOT_IMPLEMENTED,
  TZ_NAMESPACE_SERVICE,
  TZ_SUCCESS,
  TZ_TYPE_ARRAY,
  TZ_TYPE_MEM,
  TZ_TYPE_UINT32,
  TZIDecodeArraySpace,
  TZIDecodeGetType,
  TZIDecodeMemoryReference,
  TZIDecodeUint32,
  TZIEncodeArray,
  TZIEncodeArraySpace,
  TZIEncodeText,
  TZIEncodeUint32,
  tzi_encode_buffer_t,
  unsealData,
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
    case TZ_COMMAND_PROPERTIES:
      return properties(output);
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
    case 11:
      return lentRead(input, output);
    case 12:
      return lentChange(input, false);
    case 13:
      return lentChange(input, true);
    case 14:
      return lentInfo(input, output);
    case 15:
      return kept(output);
    case 16:
      return classic(output);
    case 17:
      TZIEncodeArray(output, sealData(SealPolicy.thisPal('probe', 3), bytesOf(input), bytesOf(input)));
      return TZ_SUCCESS;
    case 18:
      return unsealWith(input, output);
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
  while (true) {
    const type = TZIDecodeGetType(input);
    if (type == TZ_TYPE_UINT32) TZIEncodeUint32(output, TZIDecodeUint32(input));
    else if (type == TZ_TYPE_ARRAY) TZIEncodeArray(output, TZIDecodeArraySpace(input));
    else break;
  }
  // What is left is no record: asking for it sets the error that `dispatch` returns.
  if (input.uiOffset != input.uiSizeUsed) TZIDecodeUint32(input);
  return TZ_SUCCESS;
}

function property(output: tzi_encode_buffer_t, space: u32, name: u32, value: string): void {
  TZIEncodeUint32(output, space);
  TZIEncodeUint32(output, name);
  TZIEncodeText(output, value);
}

function properties(output: tzi_encode_buffer_t): u32 {
  property(output, TZ_NAMESPACE_SERVICE, 2, "the probe's vendor");
  property(output, TZ_NAMESPACE_SERVICE, 100, 'own');
  property(output, TZ_NAMESPACE_SERVICE, 1, 'another name');
  property(output, 0xf000_0003, 1, 'hidden');
  property(output, 0xf000_0000, 0, 'hidden');
  property(output, 0x1234_5678, 1, 'standard');
  return TZ_SUCCESS;
}

function lentRead(input: tzi_encode_buffer_t, output: tzi_encode_buffer_t): u32 {
  const offset = TZIDecodeUint32(input);
  const length = TZIDecodeUint32(input);
  const memory = TZIDecodeMemoryReference(input);
  if (memory === null) return TZ_SUCCESS;
  const bytes = memory.read(offset, length);
  TZIEncodeArray(output, bytes);
  return bytes === null ? TZ_ERROR_ACCESS_DENIED : TZ_SUCCESS;
}

/** Does not ask whether it may: what comes of it is the isolate's to decide. */
function lentChange(input: tzi_encode_buffer_t, exclusive: bool): u32 {
  const byte = <u8>TZIDecodeUint32(input);
  const lent = TZIDecodeMemoryReference(input);
  if (lent === null) return TZ_SUCCESS;
  const end = lent.address + lent.length;
  for (let at = lent.address; at < end; at++) store<u8>(at, exclusive ? load<u8>(at) ^ byte : byte);
  return TZ_SUCCESS;
}

function lentInfo(input: tzi_encode_buffer_t, output: tzi_encode_buffer_t): u32 {
  while (TZIDecodeGetType(input) == TZ_TYPE_MEM) {
    const lent: LentMemory | null = TZIDecodeMemoryReference(input);
    TZIEncodeUint32(output, lent === null ? 0 : lent.length);
    TZIEncodeUint32(output, lent === null ? 0 : lent.access);
    TZIEncodeUint32(output, lent === null ? 0 : <u32>(lent.address % 8));
  }
  return TZ_SUCCESS;
}

/** What outlives the PAL: the counter before and after it is incremented, the protected memory before and after it is written. */
function kept(output: tzi_encode_buffer_t): u32 {
  TZIEncodeUint32(output, <u32>readCounter());
  TZIEncodeUint32(output, <u32>incrementCounter());
  TZIEncodeUint32(output, svc_tpmnvram_getsize());
  const before = svc_tpmnvram_readall();
  TZIEncodeArray(output, before);
  const status = svc_tpmnvram_writeall(new Uint8Array(32).fill(<u8>readCounter()));
  TZIEncodeArray(output, svc_tpmnvram_readall());
  return status == 0 && svc_tpmnvram_writeall(new Uint8Array(31)) != 0 ? TZ_SUCCESS : TZ_ERROR_GENERIC;
}

/** TrustVisor's uPCR 1, extended by 20 zero bytes. */
function classic(output: tzi_encode_buffer_t): u32 {
  TZIEncodeArray(output, classicPcrRead(1));
  const status = classicPcrExtend(1, new Uint8Array(20));
  TZIEncodeArray(output, classicPcrRead(1));
  return status == 0 && classicPcrRead(8) === null ? TZ_SUCCESS : TZ_ERROR_GENERIC;
}

function bytesOf(input: tzi_encode_buffer_t): Uint8Array {
  const bytes = TZIDecodeArraySpace(input);
  return bytes === null ? new Uint8Array(0) : bytes;
}

function unsealWith(input: tzi_encode_buffer_t, output: tzi_encode_buffer_t): u32 {
  const unsealed = unsealData(bytesOf(input), bytesOf(input));
  if (unsealed === null) return TZ_ERROR_ACCESS_DENIED;
  TZIEncodeArray(output, unsealed.data);
  TZIEncodeUint32(output, unsealed.version);
  TZIEncodeArray(output, unsealed.label);
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
