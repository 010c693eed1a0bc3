/** Testing: Part 3, clause 10. */
import { GetTestResult, IncrementalSelfTest, SelfTest, TPM_ALG, TPM_RC } from '@casemate/tpm';
import { EMPTY, isEqual } from '../bytes.js';
import { handler } from '../handler.js';
import { HASHES } from '../implementation.js';
import { refuse, refuseParameter } from '../refusal.js';
import type { Tpm } from '../tpm.js';
import { isAlgorithm } from './capability.js';

// FIPS 180-4: the digests of "abc", which a provider that has been tampered with or miswired would miss.
const ABC = Uint8Array.of(0x61, 0x62, 0x63);
const ABC_DIGESTS: Readonly<Record<number, string>> = {
  [TPM_ALG.SHA1]: 'a9993e364706816aba3e25717850c26c9cd0d89d',
  [TPM_ALG.SHA256]: 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad',
  [TPM_ALG.SHA384]: 'cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7',
  [TPM_ALG.SHA512]:
    'ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f',
};
// SP 800-38A, F.3.13: CFB128-AES128, the first block.
const CFB = {
  key: '2b7e151628aed2a6abf7158809cf4f3c',
  iv: '000102030405060708090a0b0c0d0e0f',
  plain: '6bc1bee22e409f96e93d7e117393172a',
  cipher: '3b3fd92eb72dad20333449f8e83cfb4a',
};

/** TPM2_SelfTest (10.2): known answers of what the provider does. */
export const selfTest = /* @__PURE__ */ handler(SelfTest, (tpm) => {
  runSelfTest(tpm);
  return {};
});

/** TPM2_IncrementalSelfTest (10.3): all tests at once, so nothing is left to do. */
export const incrementalSelfTest = /* @__PURE__ */ handler(IncrementalSelfTest, (tpm, { toTest }) => {
  if (toTest.some((alg) => !isAlgorithm(tpm, alg))) refuseParameter(TPM_RC.VALUE, 1);
  runSelfTest(tpm);
  return { toDoList: [] };
});

/** TPM2_GetTestResult (10.4). */
export const getTestResult = /* @__PURE__ */ handler(GetTestResult, (tpm) => ({
  outData: EMPTY,
  testResult: tpm.volatile.hasFailed ? TPM_RC.FAILURE : TPM_RC.SUCCESS,
}));

function runSelfTest(tpm: Tpm): void {
  const hashes = HASHES.every((alg) => isEqual(tpm.crypto.hash(alg, ABC), fromHex(ABC_DIGESTS[alg] ?? '')));
  const cipher = tpm.crypto.aesCfbEncrypt(fromHex(CFB.key), fromHex(CFB.iv), fromHex(CFB.plain));
  if (hashes && isEqual(cipher, fromHex(CFB.cipher))) return;
  tpm.volatile.hasFailed = true;
  refuse(TPM_RC.FAILURE);
}

function fromHex(text: string): Uint8Array {
  return Uint8Array.from(text.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}
