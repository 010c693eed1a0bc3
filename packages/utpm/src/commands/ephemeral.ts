/** Ephemeral elliptic-curve keys: Part 3, clause 19. */
import { Commit, EcEphemeral, TPM_ALG, TPM_RC } from '@casemate/tpm';
import { EMPTY, padStart } from '../bytes.js';
import { nextCommitSecret, commit as openCommit } from '../commit.js';
import type { CurvePoint } from '../crypto.js';
import { type Curve, curveOf, isOnCurve, padPoint } from '../curve.js';
import { objectAt } from '../entity.js';
import { handler } from '../handler.js';
import { toBytes, toInteger } from '../integer.js';
import { eccKeyOf } from '../key.js';
import { refuse, refuseHandle, refuseParameter } from '../refusal.js';

const NO_POINT: CurvePoint = { x: EMPTY, y: EMPTY };

/** TPM2_Commit (19.2): the points of an anonymous signature's first half. */
export const commit = /* @__PURE__ */ handler(Commit, (tpm, { signHandle, P1, s2, y2 }) => {
  const object = objectAt(tpm, signHandle);
  const { public: area } = object;
  if (area.type !== TPM_ALG.ECC) return refuseHandle(TPM_RC.KEY, 1);
  if (area.parameters.scheme.scheme !== TPM_ALG.ECDAA) return refuseHandle(TPM_RC.SCHEME, 1);
  if ((s2.length === 0) !== (y2.length === 0)) refuseParameter(TPM_RC.SIZE, 3);
  const curve = curveOf(area.parameters.curveID) ?? refuseHandle(TPM_RC.KEY, 1);
  const B = s2.length === 0 ? undefined : pointOf(curve, tpm.crypto.hash(area.nameAlg, s2), y2);
  const hasM = P1.x.length + P1.y.length > 0;
  if (hasM && !isOnCurve(curve, P1)) refuseParameter(TPM_RC.ECC_POINT, 1);
  const r = nextCommitSecret(tpm, curve, object.name);
  const times = (scalar: Uint8Array, point?: CurvePoint): CurvePoint =>
    tpm.crypto.eccMultiply(curve.id, scalar, point) ?? refuse(TPM_RC.NO_RESULT);
  const K = B === undefined ? NO_POINT : times(eccKeyOf(object).d, B);
  const L = B === undefined ? NO_POINT : times(r, B);
  const E = hasM || B === undefined ? times(r, hasM ? padPoint(curve, P1) : undefined) : NO_POINT;
  r.fill(0);
  return { K, L, E, counter: openCommit(tpm) };
});

/** The point whose x is a digest modulo the prime, with the y that the caller found for it. */
function pointOf(curve: Curve, digest: Uint8Array, y: Uint8Array): CurvePoint {
  const point = { x: toBytes(toInteger(digest) % curve.prime, curve.size), y: padStart(y, curve.size) };
  return isOnCurve(curve, point) ? point : refuseParameter(TPM_RC.ECC_POINT, 2);
}

/** TPM2_EC_Ephemeral (19.3). */
export const ecEphemeral = /* @__PURE__ */ handler(EcEphemeral, (tpm, { curveID }) => {
  const curve = curveOf(curveID) ?? refuseParameter(TPM_RC.CURVE, 1);
  const r = nextCommitSecret(tpm, curve);
  const Q = tpm.crypto.eccMultiply(curve.id, r) ?? refuse(TPM_RC.NO_RESULT);
  r.fill(0);
  return { Q, counter: openCommit(tpm) };
});
