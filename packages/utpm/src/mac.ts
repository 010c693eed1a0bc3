/** MACs by loaded keys: which one a key makes, and starting it. Part 3, 15.5, 15.6, 17.2 and 17.3. */
import { TPM_ALG, TPM_RC, TPMA_OBJECT } from '@casemate/tpm';
import { runningCmac } from './cmac.js';
import { isHash } from './implementation.js';
import { has, type TpmObject } from './object.js';
import { refuse, refuseHandle, refuseParameter } from './refusal.js';
import { type Running, runningHmac } from './running-hash.js';
import type { Tpm } from './tpm.js';

/** Starts the MAC that `object` makes, of the algorithm `asked` or its own; the key is handle 1 and `asked` parameter 2. */
export function startMac(tpm: Tpm, object: TpmObject, asked: number): Running {
  const alg = macAlgorithm(object, asked);
  const { public: area, sensitive } = object;
  if (has(area, TPMA_OBJECT.restricted)) refuseHandle(TPM_RC.ATTRIBUTES, 1);
  if (!has(area, TPMA_OBJECT.sign)) refuseHandle(TPM_RC.KEY, 1);
  const key = sensitive?.sensitive ?? refuse(TPM_RC.AUTH_UNAVAILABLE);
  return area.type === TPM_ALG.SYMCIPHER
    ? runningCmac(tpm.crypto, area.parameters.sym.algorithm, key)
    : runningHmac(alg, key);
}

function macAlgorithm({ public: area }: TpmObject, asked: number): number {
  const isKnown = asked === TPM_ALG.NULL || asked === TPM_ALG.CMAC || isHash(asked);
  if (!isKnown) refuseParameter(TPM_RC.SYMMETRIC, 2);
  const own = ownAlgorithm(area);
  if (asked !== TPM_ALG.NULL && own !== TPM_ALG.NULL && asked !== own) refuseParameter(TPM_RC.VALUE, 2);
  const alg = asked === TPM_ALG.NULL ? own : asked;
  if (alg === TPM_ALG.NULL) refuseParameter(TPM_RC.VALUE, 2);
  const isValid = area.type === TPM_ALG.SYMCIPHER ? alg === TPM_ALG.CMAC : isHash(alg);
  return isValid ? alg : refuseParameter(TPM_RC.SCHEME, 2);
}

function ownAlgorithm(area: TpmObject['public']): number {
  if (area.type === TPM_ALG.SYMCIPHER) return area.parameters.sym.mode;
  if (area.type !== TPM_ALG.KEYEDHASH) return refuseHandle(TPM_RC.TYPE, 1);
  const { scheme } = area.parameters;
  return scheme.scheme === TPM_ALG.NULL ? TPM_ALG.NULL : scheme.details.hashAlg;
}
