/** Certificate policies along paths: the rules of RFC 5280 6.1 by hand, and the same verdict as OpenSSL on random chains. */
import { spawnSync } from 'node:child_process';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { bitString, constructed, integer, oid, primitive, readDer, sequence, TAG, time, tlv } from '../src/der.js';
import {
  authorityKeyIdentifier,
  basicConstraints,
  certificatePolicies,
  type Extension,
  encodeExtension,
  keyUsage,
  type PolicyConstraints,
  subjectKeyIdentifier,
} from '../src/extension.js';
import {
  generateKey,
  type PathOptions,
  PkiError,
  parseCertificate,
  type SoftwareKey,
  validatePath,
} from '../src/index.js';
import { buildName } from '../src/name.js';
import { EXTENSION } from '../src/oid.js';
import { opensslMissing, openWorkshop } from './openssl.js';

const ANY = '2.5.29.32.0';
const [A, B, C] = ['1.2.3.1', '1.2.3.2', '1.2.3.3'];
const now = new Date('2026-06-01T00:00:00Z');

/** The policies of one certificate, in the order of the chain: the first is issued by the root, the last is the leaf. */
interface Policies {
  readonly policies?: readonly string[];
  readonly mappings?: readonly (readonly [string, string])[];
  readonly constraints?: PolicyConstraints;
  readonly inhibitAny?: number;
}

let keys: readonly SoftwareKey[];

beforeAll(async () => {
  keys = await Promise.all(Array.from({ length: 5 }, () => generateKey('ecdsa-p256-sha256')));
});

/** A root and the chain below it. */
async function chainOf(chain: readonly Policies[]): Promise<readonly Uint8Array[]> {
  const certificates = [await certificate(0, 0, {}, true)];
  for (const [i, each] of chain.entries()) certificates.push(await certificate(i + 1, i, each, i < chain.length - 1));
  return certificates;
}

async function certificate(subject: number, issuer: number, policies: Policies, isCa: boolean): Promise<Uint8Array> {
  const [own, above] = [keys[subject], keys[issuer]];
  if (own === undefined || above === undefined) throw new Error('a chain of at most four');
  const name = (number: number) => buildName({ commonName: `certificate ${number}` });
  const algorithm = sequence(oid('1.2.840.10045.4.3.2'));
  const identifier = (number: number) => Uint8Array.of(1, 2, 3, number);
  const extensions = [
    basicConstraints({ ca: isCa }),
    keyUsage(isCa ? ['keyCertSign', 'cRLSign'] : ['digitalSignature']),
    subjectKeyIdentifier(identifier(subject)),
    authorityKeyIdentifier(identifier(issuer)),
    ...policyExtensions(policies),
  ];
  const tbs = sequence(
    tlv(constructed(0), integer(2)),
    integer(subject + 1),
    algorithm,
    name(issuer),
    sequence(time(new Date('2026-01-01T00:00:00Z')), time(new Date('2027-01-01T00:00:00Z'))),
    name(subject),
    own.publicKey,
    tlv(constructed(3), sequence(...extensions.map(encodeExtension))),
  );
  return sequence(tbs, algorithm, bitString(await above.sign(tbs)));
}

function policyExtensions({ policies, mappings, constraints, inhibitAny }: Policies): readonly Extension[] {
  const small = (value: number) => readDer(integer(value), TAG.INTEGER, 'number');
  const { requireExplicitPolicy, inhibitPolicyMapping } = constraints ?? {};
  const critical = true;
  return [
    ...(policies === undefined ? [] : [certificatePolicies(policies)]),
    ...(mappings === undefined
      ? []
      : [
          {
            oid: EXTENSION.policyMappings,
            critical,
            value: sequence(...mappings.map(([from, to]) => sequence(oid(from), oid(to)))),
          },
        ]),
    ...(constraints === undefined
      ? []
      : [
          {
            oid: EXTENSION.policyConstraints,
            critical,
            value: sequence(
              ...(requireExplicitPolicy === undefined ? [] : [tlv(primitive(0), small(requireExplicitPolicy))]),
              ...(inhibitPolicyMapping === undefined ? [] : [tlv(primitive(1), small(inhibitPolicyMapping))]),
            ),
          },
        ]),
    ...(inhibitAny === undefined ? [] : [{ oid: EXTENSION.inhibitAnyPolicy, critical, value: integer(inhibitAny) }]),
  ];
}

async function verdict(
  chain: readonly Policies[],
  policy: PathOptions['policy'] = {},
): Promise<readonly string[] | string> {
  const [root = new Uint8Array(), ...below] = await chainOf(chain);
  const leaf = below.at(-1) ?? root;
  const result = await validatePath(leaf, below.slice(0, -1), [root], { purpose: 'any', time: now, policy });
  return result.ok ? [...result.policies].sort() : result.problem.code;
}

const required = { requireExplicitPolicy: true } as const;

describe('the policies of a path', () => {
  it('are those that every certificate has', async () => {
    expect(await verdict([{ policies: [A, B] }, { policies: [B, C] }])).toEqual([B]);
    expect(await verdict([{ policies: [A] }, { policies: [ANY] }, { policies: [A] }])).toEqual([A]);
    expect(await verdict([{ policies: [ANY] }, { policies: [ANY] }])).toEqual([ANY]);
    expect(await verdict([{ policies: [A] }, {}])).toEqual([]);
  });

  it('must be there where the caller or a certificate demands it', async () => {
    expect(await verdict([{ policies: [A] }, { policies: [B] }])).toEqual([]);
    expect(await verdict([{ policies: [A] }, { policies: [B] }], required)).toBe('policy');
    expect(await verdict([{ policies: [A], constraints: { requireExplicitPolicy: 0 } }, { policies: [B] }])).toBe(
      'policy',
    );
    const late = { policies: [A], constraints: { requireExplicitPolicy: 3 } };
    expect(await verdict([late, { policies: [B] }])).toEqual([]);
    expect(await verdict([{ policies: [A] }, { policies: [B], constraints: { requireExplicitPolicy: 0 } }])).toBe(
      'policy',
    );
  });

  it('must be among those that the caller accepts, where they must be there at all', async () => {
    const chain = [{ policies: [A, B] }, { policies: [A, B] }];
    expect(await verdict(chain, { ...required, policies: [B, C] })).toEqual([B]);
    expect(await verdict(chain, { ...required, policies: [C] })).toBe('policy');
    expect(await verdict(chain, { policies: [C] })).toEqual([]);
    expect(await verdict([{ policies: [ANY] }, { policies: [ANY] }], { ...required, policies: [C] })).toEqual([C]);
  });

  it('are mapped from domain to domain, and named as in the first', async () => {
    const mapped: Policies = { policies: [A], mappings: [[A, B]] };
    expect(await verdict([mapped, { policies: [B] }], required)).toEqual([A]);
    expect(await verdict([mapped, { policies: [A] }], required)).toBe('policy');
    expect(await verdict([mapped, { policies: [B] }], { ...required, policies: [B] })).toBe('policy');
    expect(await verdict([{ policies: [ANY], mappings: [[A, B]] }, { policies: [B] }], required)).toEqual([A]);
    expect(await verdict([mapped, { policies: [B] }], { ...required, inhibitPolicyMapping: true })).toBe('policy');
    const inhibits = { policies: [A], constraints: { inhibitPolicyMapping: 0 } };
    expect(await verdict([inhibits, mapped, { policies: [B] }], required)).toBe('policy');
  });

  it('are never mapped from or to anyPolicy', async () => {
    for (const mapping of [
      [ANY, A],
      [A, ANY],
    ] as const) {
      expect(await verdict([{ policies: [A], mappings: [mapping] }, { policies: [A] }])).toBe('policy');
    }
  });

  it('do not come from anyPolicy where it is inhibited', async () => {
    expect(await verdict([{ policies: [ANY], inhibitAny: 0 }, { policies: [ANY] }], required)).toBe('policy');
    expect(await verdict([{ policies: [ANY], inhibitAny: 1 }, { policies: [ANY] }], required)).toEqual([ANY]);
    expect(await verdict([{ policies: [ANY] }, { policies: [A] }], { ...required, inhibitAnyPolicy: true })).toBe(
      'policy',
    );
  });

  it('named twice, or without a constraint, are malformed', async () => {
    await expect(parseCertificateOf({ policies: [A, A] })).rejects.toThrow(PkiError);
    await expect(parseCertificateOf({ constraints: {} })).rejects.toThrow(PkiError);
    await expect(parseCertificateOf({ mappings: [] })).rejects.toThrow(PkiError);
    await expect(parseCertificateOf({ policies: [] })).rejects.toThrow(PkiError);
  });
});

async function parseCertificateOf(policies: Policies): Promise<unknown> {
  return parseCertificate(await certificate(1, 0, policies, true));
}

const policySet = fc.uniqueArray(fc.constantFrom(A, B, C, ANY), { minLength: 1, maxLength: 3 });
const mapping = fc.tuple(fc.constantFrom(A, B, C), fc.constantFrom(A, B, C));
const count = fc.integer({ min: 0, max: 2 });
const constraints = fc
  .record({ requireExplicitPolicy: count, inhibitPolicyMapping: count }, { requiredKeys: [] })
  .filter((each) => Object.keys(each).length > 0);
const policiesOf = fc.record(
  { policies: policySet, mappings: fc.array(mapping, { minLength: 1, maxLength: 2 }), constraints, inhibitAny: count },
  { requiredKeys: [] },
);
/**
 * Where anyPolicy is inhibited, OpenSSL still lets a certificate with anyPolicy map a policy that it does not name;
 * RFC 5280 6.1.3 (d) (2) has no such policy left to map.
 */
function isOpensslsOwn(cas: readonly Policies[]): boolean {
  const mapsByAny = cas.some(({ policies, mappings }) => mappings !== undefined && policies?.includes(ANY) === true);
  return mapsByAny && cas.some(({ inhibitAny }) => inhibitAny !== undefined);
}

const authorities = fc.array(policiesOf, { minLength: 1, maxLength: 3 }).filter((cas) => !isOpensslsOwn(cas));
const leafPolicies = fc.record({ policies: policySet }, { requiredKeys: ['policies'] });

describe.skipIf(opensslMissing())('OpenSSL', () => {
  it('gives the same verdict on random chains', { timeout: 120_000 }, async () => {
    using work = openWorkshop();
    const verdicts = { accepted: 0, refused: 0 };
    await fc.assert(
      fc.asyncProperty(authorities, leafPolicies, fc.boolean(), fc.boolean(), async (cas, leaf, isExplicit, isAny) => {
        const chain = [...cas, leaf];
        const [root = new Uint8Array(), ...below] = await chainOf(chain);
        work.certificates('root.pem', root);
        work.certificates('chain.pem', ...below.slice(0, -1));
        work.certificates('leaf.pem', ...below.slice(-1));
        const wanted = ['-policy', isAny ? ANY : A];
        const options = ['-policy_check', ...(isExplicit ? ['-explicit_policy'] : []), ...wanted];
        const at = ['-attime', String(now.getTime() / 1000)];
        const files = ['-CAfile', 'root.pem', '-untrusted', 'chain.pem', 'leaf.pem'];
        const { status } = spawnSync('openssl', ['verify', ...at, ...options, ...files], { cwd: work.path });
        const policy = { requireExplicitPolicy: isExplicit, ...(isAny ? {} : { policies: [A] }) };
        const ours = (await verdict(chain, policy)) !== 'policy';
        expect(ours).toBe(status === 0);
        verdicts[ours ? 'accepted' : 'refused'] += 1;
      }),
      { numRuns: 150 },
    );
    expect(Math.min(verdicts.accepted, verdicts.refused)).toBeGreaterThan(15);
  });
});
