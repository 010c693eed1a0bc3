/** Which certificates a CRL is about: issuingDistributionPoint and cRLDistributionPoints (RFC 5280 sections 5.2.5 and 4.2.1.13). */
import { equalBytes } from './bytes.js';
import type { Certificate } from './certificate.js';
import { boolean, booleanValue, constructed, DerReader, openDer, primitive, sequence, TAG, tlv, tlvOf } from './der.js';
import { malformed } from './error.js';
import type { Extension } from './extension.js';
import { encodeGeneralName, type GeneralName, parseGeneralName } from './general-name.js';
import { EXTENSION } from './oid.js';

/** The scope of a CRL that does not cover all certificates of its issuer. */
export interface CrlScope {
  /** GeneralName DER of where this list is published; a certificate that it covers names one of them. */
  readonly distributionPoints: readonly Uint8Array[];
  /** Only end entities, only CAs, or only attribute certificates. */
  readonly only?: 'user' | 'ca' | 'attribute';
  /** Whether the list covers only some of the reasons for revocation: what is not on it may be revoked all the same. */
  readonly hasSomeReasons: boolean;
  /** Whether it lists certificates of other issuers too. */
  readonly isIndirect: boolean;
}

/** Reads an issuingDistributionPoint value. Throws {@link PkiError} `malformed`. */
export function crlScope(value: Uint8Array): CrlScope {
  const what = 'issuingDistributionPoint';
  const reader = openDer(value, TAG.SEQUENCE, what);
  const point = reader.optional(constructed(0), 'distributionPoint');
  const flag = (number: number) => {
    const element = reader.optional(primitive(number), 'flag');
    return element !== undefined && booleanValue(element.content, what);
  };
  const [user, ca] = [flag(1), flag(2)];
  const hasSomeReasons = reader.optional(primitive(3), 'onlySomeReasons') !== undefined;
  const [isIndirect, attribute] = [flag(4), flag(5)];
  reader.finish();
  const only = (['user', 'ca', 'attribute'] as const).filter((_, i) => [user, ca, attribute][i]);
  if (only.length > 1) throw malformed(what, `expected one kind of certificate, got ${only.join(' and ')}`);
  const distributionPoints = point === undefined ? [] : pointNames(point.content, what);
  return { distributionPoints, ...(only[0] && { only: only[0] }), hasSomeReasons, isIndirect };
}

/** DistributionPointName: the names of a fullName; a name relative to the issuer is kept as its own encoding. */
function pointNames(content: Uint8Array, what: string): readonly Uint8Array[] {
  const reader = new DerReader(content, what);
  const choice = reader.any('DistributionPointName');
  reader.finish();
  if (choice.tag === constructed(1)) return [choice.bytes];
  if (choice.tag !== constructed(0)) throw malformed(what, 'expected fullName or nameRelativeToCRLIssuer, got another');
  const names: Uint8Array[] = [];
  const inner = new DerReader(choice.content, what);
  while (!inner.done) {
    const element = inner.any('GeneralName');
    parseGeneralName(element, what);
    if (names.length === 64) throw malformed(what, 'expected at most 64 names, got more');
    names.push(element.bytes);
  }
  return names;
}

/** The GeneralName DER of every place that a certificate's cRLDistributionPoints names. Throws {@link PkiError} `malformed`. */
function distributionPointsOf(extensions: readonly Extension[]): readonly Uint8Array[] {
  const value = extensions.find((each) => each.oid === EXTENSION.cRLDistributionPoints)?.value;
  if (value === undefined) return [];
  const what = 'cRLDistributionPoints';
  const reader = openDer(value, TAG.SEQUENCE, what);
  const names: Uint8Array[] = [];
  while (!reader.done) {
    const point = reader.enter(TAG.SEQUENCE, 'DistributionPoint');
    const name = point.optional(constructed(0), 'distributionPoint');
    point.optional(primitive(1), 'reasons');
    point.optional(constructed(2), 'cRLIssuer');
    point.finish();
    if (name !== undefined) names.push(...pointNames(name.content, what));
    if (names.length > 256) throw malformed(what, 'expected at most 256 names, got more');
  }
  return names;
}

/** Why a list of this scope says nothing of `certificate`; undefined where it does. */
export function scopeProblem(scope: CrlScope | undefined, certificate: Certificate): string | undefined {
  if (scope === undefined) return undefined;
  if (scope.isIndirect) return 'is indirect';
  const isCa = certificate.basicConstraints?.ca === true;
  if (scope.only !== undefined && scope.only !== (isCa ? 'ca' : 'user')) return `is about ${scope.only} certificates`;
  if (scope.distributionPoints.length === 0) return undefined;
  const wanted = distributionPointsOf(certificate.extensions);
  const isCovered = scope.distributionPoints.some((name) => wanted.some((each) => equalBytes(each, name)));
  return isCovered ? undefined : 'is published for other certificates';
}

/** issuingDistributionPoint, critical. */
export function issuingDistributionPoint(points: readonly GeneralName[], only: 'user' | 'ca' | undefined): Extension {
  const names = points.map(encodeGeneralName);
  const parts = names.length === 0 ? [] : [tlv(constructed(0), tlvOf(constructed(0), names))];
  const flag = boolean(true).subarray(2);
  if (only !== undefined) parts.push(tlv(primitive(only === 'user' ? 1 : 2), flag));
  return { oid: EXTENSION.issuingDistributionPoint, critical: true, value: sequence(...parts) };
}
