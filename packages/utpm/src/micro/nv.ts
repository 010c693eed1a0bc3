/** NV indexes, ordinary ones and counters: Part 3, clause 31; Part 1, 37.2. */
import { readU64, trimAuth, u64Bytes } from '../bytes.js';
import { type Answer, answer, type Call, type Command } from './command.js';
import { TPM_ALG, TPM_CC, TPM_HT, TPM_RC, TPM_RH, TPMA_NV } from './constants.js';
import { encodeNvPublic, entityName, nvAt } from './entity.js';
import { refuse, refuseHandle, refuseParameter, sized } from './octets.js';
import { type Micro, markDirty, type NvIndex } from './state.js';

const MAX_INDEXES = 64;
const MAX_SIZE = 2048;
const MAX_BUFFER = 1024;
const COUNTER = 1;
const ATTRIBUTES = Object.values(TPMA_NV).reduce((bits, bit) => bits | bit, 0);
const { OWNERWRITE, AUTHWRITE, POLICYWRITE, OWNERREAD, AUTHREAD, POLICYREAD, WRITEALL, WRITTEN, TPM_NT } = TPMA_NV;

const isCounter = ({ attributes }: NvIndex): boolean => (attributes & TPM_NT) >> 4 === COUNTER;
const isWritten = ({ attributes }: NvIndex): boolean => (attributes & WRITTEN) !== 0;

function store(tpm: Micro, index: NvIndex): void {
  tpm.permanent.nv.set(index.handle, index);
  markDirty(tpm);
}

function define(tpm: Micro, { handles, input }: Call): Answer {
  const auth = trimAuth(input.parameter().sized(64));
  const index = input.parameter().within(() => {
    const handle = input.u32();
    if (handle >>> 24 !== TPM_HT.NV_INDEX) input.refuse(TPM_RC.VALUE);
    input.expect(input.u16(), TPM_ALG.SHA256, TPM_RC.HASH);
    const attributes = input.u32();
    return { handle, attributes, auth, authPolicy: input.sized(64), data: new Uint8Array(input.u16()).fill(0xff) };
  });
  input.end();
  if (handles[0] !== TPM_RH.OWNER) refuseHandle(TPM_RC.ATTRIBUTES, 1);
  if (auth.length > 32) refuseParameter(TPM_RC.SIZE, 1);
  assertDefinable(index);
  if (tpm.permanent.nv.has(index.handle)) refuse(TPM_RC.NV_DEFINED);
  if (tpm.permanent.nv.size >= MAX_INDEXES) refuse(TPM_RC.NV_SPACE);
  store(tpm, index);
  return answer();
}

// Attributes of locks, PINs, bit fields and the platform are those that there are not.
function assertDefinable({ attributes, authPolicy, data }: NvIndex): void {
  const refuseAttributes = (): never => refuseParameter(TPM_RC.ATTRIBUTES, 2);
  if ((attributes & ~ATTRIBUTES) !== 0 || (attributes & WRITTEN) !== 0) refuseAttributes();
  if ((attributes & TPM_NT) >> 4 > COUNTER) refuseAttributes();
  if ((attributes & (OWNERWRITE | AUTHWRITE | POLICYWRITE)) === 0) refuseAttributes();
  if ((attributes & (OWNERREAD | AUTHREAD | POLICYREAD)) === 0) refuseAttributes();
  if (authPolicy.length !== 0 && authPolicy.length !== 32) refuseParameter(TPM_RC.SIZE, 2);
  const isTooLong = data.length > ((attributes & WRITEALL) === 0 ? MAX_SIZE : MAX_BUFFER);
  if (isTooLong || ((attributes & TPM_NT) >> 4 === COUNTER && data.length !== 8)) refuseParameter(TPM_RC.SIZE, 2);
}

// A counter that is defined later must not repeat a value of one that is gone (Part 1, 37.2.4.2).
function undefine(tpm: Micro, { handles, input }: Call): Answer {
  input.end();
  if (handles[0] !== TPM_RH.OWNER) refuseHandle(TPM_RC.ATTRIBUTES, 1);
  const index = nvAt(tpm, handles[1] ?? 0);
  if (isCounter(index) && isWritten(index)) {
    const value = readU64(index.data, 0);
    if (value > tpm.permanent.maxCounter) tpm.permanent.maxCounter = value;
  }
  index.data.fill(0);
  tpm.permanent.nv.delete(index.handle);
  markDirty(tpm);
  return answer();
}

// The dispatcher has checked the authorization; here it is whether that one may do this (Part 3, 31.1).
function assertAccess(authHandle: number, index: NvIndex, ownerBit: number): void {
  const isAllowed = authHandle === TPM_RH.OWNER ? (index.attributes & ownerBit) !== 0 : authHandle === index.handle;
  if (!isAllowed) refuse(TPM_RC.NV_AUTHORIZATION);
}

function write(tpm: Micro, { handles, input }: Call): Answer {
  const [authHandle = 0, handle = 0] = handles;
  const index = nvAt(tpm, handle);
  const bytes = input.parameter().sized(MAX_BUFFER);
  const offset = input.parameter().u16();
  input.end();
  assertAccess(authHandle, index, OWNERWRITE);
  if (isCounter(index)) refuse(TPM_RC.ATTRIBUTES);
  if (offset > index.data.length) refuseParameter(TPM_RC.VALUE, 2);
  if (bytes.length > index.data.length - offset) refuse(TPM_RC.NV_RANGE);
  if ((index.attributes & WRITEALL) !== 0 && bytes.length < index.data.length) refuse(TPM_RC.NV_RANGE);
  const data = index.data.slice();
  data.set(bytes, offset);
  store(tpm, { ...index, data, attributes: index.attributes | WRITTEN });
  return answer();
}

function increment(tpm: Micro, { handles, input }: Call): Answer {
  input.end();
  const [authHandle = 0, handle = 0] = handles;
  const index = nvAt(tpm, handle);
  assertAccess(authHandle, index, OWNERWRITE);
  if (!isCounter(index)) refuseHandle(TPM_RC.ATTRIBUTES, 2);
  const before = isWritten(index) ? readU64(index.data, 0) : highestCounter(tpm);
  store(tpm, { ...index, data: u64Bytes(before + 1n), attributes: index.attributes | WRITTEN });
  return answer();
}

function highestCounter({ permanent }: Micro): bigint {
  let highest = permanent.maxCounter;
  for (const index of permanent.nv.values()) {
    const value = isCounter(index) && isWritten(index) ? readU64(index.data, 0) : 0n;
    if (value > highest) highest = value;
  }
  return highest;
}

function read(tpm: Micro, { handles, input }: Call): Answer {
  const [authHandle = 0, handle = 0] = handles;
  const index = nvAt(tpm, handle);
  const [size, offset] = [input.parameter().u16(), input.parameter().u16()];
  input.end();
  assertAccess(authHandle, index, OWNERREAD);
  if (!isWritten(index)) refuse(TPM_RC.NV_UNINITIALIZED);
  if (size > MAX_BUFFER) refuseParameter(TPM_RC.VALUE, 1);
  if (offset > index.data.length) refuseParameter(TPM_RC.VALUE, 2);
  if (size > index.data.length - offset) refuse(TPM_RC.NV_RANGE);
  return answer(sized(index.data.subarray(offset, offset + size)));
}

const INDEX = [TPM_HT.NV_INDEX];
const OWNER = [TPM_HT.PERMANENT];
const EITHER = [TPM_HT.PERMANENT, TPM_HT.NV_INDEX];

/** The commands of clause 31. */
export const NV_COMMANDS: readonly Command[] = [
  { code: TPM_CC.NV_DefineSpace, handles: [OWNER], roles: ['user'], canDecrypt: true, run: define },
  { code: TPM_CC.NV_UndefineSpace, handles: [OWNER, INDEX], roles: ['user'], run: undefine },
  {
    code: TPM_CC.NV_ReadPublic,
    handles: [INDEX],
    roles: [],
    canEncrypt: true,
    isHarmless: true,
    run: (tpm, { handles: [handle = 0], input }) => {
      input.end();
      return answer(sized(encodeNvPublic(nvAt(tpm, handle))), sized(entityName(tpm, handle)));
    },
  },
  { code: TPM_CC.NV_Write, handles: [EITHER, INDEX], roles: ['user'], canDecrypt: true, run: write },
  { code: TPM_CC.NV_Increment, handles: [EITHER, INDEX], roles: ['user'], run: increment },
  { code: TPM_CC.NV_Read, handles: [EITHER, INDEX], roles: ['user'], canEncrypt: true, run: read },
];
