/** What a path is validated for: the key usages and extended key usages that each purpose asks for. */
import type { Certificate } from './certificate.js';
import type { KeyUsage } from './extension.js';
import { EXTENDED_KEY_USAGE } from './oid.js';
import { type PathProblem, problemOf } from './path-problem.js';

/** Uses that a leaf's key may be put to. `any` checks no key usage of the leaf. */
export type Purpose = 'any' | 'server-auth' | 'client-auth' | 'code-signing' | 'tpm-ek' | 'tpm-ak' | 'time-stamping';

interface PurposeRule {
  readonly usage: string;
  /** Whether the leaf must name the usage; RFC 5280 4.2.1.12 leaves it to the application. */
  readonly explicit: boolean;
  /** One of these where the leaf has a keyUsage. */
  readonly keyUsage: readonly KeyUsage[];
}

const RULES: Readonly<Record<Exclude<Purpose, 'any'>, PurposeRule>> = {
  'server-auth': {
    usage: EXTENDED_KEY_USAGE.serverAuth,
    explicit: false,
    keyUsage: ['digitalSignature', 'keyEncipherment', 'keyAgreement'],
  },
  'client-auth': {
    usage: EXTENDED_KEY_USAGE.clientAuth,
    explicit: false,
    keyUsage: ['digitalSignature', 'keyAgreement'],
  },
  'code-signing': { usage: EXTENDED_KEY_USAGE.codeSigning, explicit: true, keyUsage: ['digitalSignature'] },
  'tpm-ek': {
    usage: EXTENDED_KEY_USAGE.tcgEkCertificate,
    explicit: true,
    keyUsage: ['keyEncipherment', 'keyAgreement'],
  },
  'time-stamping': { usage: EXTENDED_KEY_USAGE.timeStamping, explicit: true, keyUsage: ['digitalSignature'] },
  'tpm-ak': { usage: EXTENDED_KEY_USAGE.tcgAikCertificate, explicit: true, keyUsage: ['digitalSignature'] },
};

/** Why a leaf's key is not for `purpose`. */
export function leafPurposeProblem(leaf: Certificate, purpose: Purpose): PathProblem | undefined {
  if (purpose === 'any') return undefined;
  const rule = RULES[purpose];
  const usages = leaf.extendedKeyUsage;
  if (usages === undefined ? rule.explicit : !usages.includes(rule.usage)) {
    const got = usages?.join(', ') ?? 'none';
    return problemOf(
      leaf,
      'extended-key-usage',
      `expected the extended key usage ${rule.usage} for ${purpose}, got ${got}`,
    );
  }
  const { keyUsage } = leaf;
  if (
    keyUsage !== undefined &&
    !(isCa(leaf) && !rule.explicit) &&
    !rule.keyUsage.some((usage) => keyUsage.has(usage))
  ) {
    return problemOf(
      leaf,
      'key-usage',
      `expected ${rule.keyUsage.join(' or ')} for ${purpose}, got ${[...keyUsage].join(', ')}`,
    );
  }
  return undefined;
}

/**
 * RFC 5280 says nothing against a CA certificate in the leaf's place, and its keyUsage speaks of issuing. That is let pass for TLS;
 * a CA that signs code or attests as well is what trust|me's PKI was criticised for.
 */
function isCa(leaf: Certificate): boolean {
  return leaf.basicConstraints?.ca === true;
}

/** Why a CA may not issue for `purpose`: its extendedKeyUsage, where it has one, bounds what is below it. */
export function issuerPurposeProblem(issuer: Certificate, purpose: Purpose): PathProblem | undefined {
  const usages = issuer.extendedKeyUsage;
  if (purpose === 'any' || usages === undefined) return undefined;
  const { usage } = RULES[purpose];
  if (usages.includes(usage) || usages.includes(EXTENDED_KEY_USAGE.anyExtendedKeyUsage)) return undefined;
  return problemOf(
    issuer,
    'extended-key-usage',
    `expected a CA that may issue for ${purpose}, got one for ${usages.join(', ')}`,
  );
}
