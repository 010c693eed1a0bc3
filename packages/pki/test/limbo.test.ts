/** Path validation judged by the cases of C2SP/x509-limbo, which this project did not write. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { decodePem, type PathOptions, type PeerName, validatePath } from '../src/index.js';

const file = join(import.meta.dirname, '../../../../shared/data/x509-limbo/limbo.json');
/** The suite lies beside the repository, not in it. */
const absent = existsSync(file) ? false : `${file} is not there`;

interface Case {
  readonly id: string;
  readonly validation_kind: 'SERVER' | 'CLIENT';
  readonly trusted_certs: readonly string[];
  readonly untrusted_intermediates: readonly string[];
  readonly peer_certificate: string;
  readonly validation_time: string | null;
  readonly extended_key_usage: readonly string[];
  readonly expected_result: 'SUCCESS' | 'FAILURE';
  readonly expected_peer_name: { readonly kind: 'DNS' | 'IP' | 'RFC822'; readonly value: string } | null;
  readonly expected_peer_names: readonly { readonly kind: 'DNS' | 'IP' | 'RFC822'; readonly value: string }[];
  readonly max_chain_depth: number | null;
  readonly crls?: readonly string[];
}

const COMMON_NAME =
  'a rule of the web PKI: the common name must repeat an alternative name; device certificates name the device there';
const PEDANTIC_USAGE = 'a rule of the web PKI that RFC 5280 4.2.1.12 does not have';
const ROOT_IDENTIFIER =
  'a rule of the web PKI: RFC 5280 4.2.1.1 allows issuer and serial number beside the key identifier';
const SUFFIX = 'needs the Public Suffix List, which is no part of RFC 5280';

/** Every case in which this package answers otherwise than the suite expects, and why. */
const DISAGREEMENTS: Readonly<Record<string, string>> = {
  'cve::cve-2024-0567':
    'its anchor is a cross-signed root without authorityKeyIdentifier, which rfc5280::aki::cross-signed-root-missing-aki wants refused',
  'webpki::aki::root-with-aki-authoritycertissuer': ROOT_IDENTIFIER,
  'webpki::aki::root-with-aki-authoritycertserialnumber': ROOT_IDENTIFIER,
  'webpki::aki::root-with-aki-all-fields': ROOT_IDENTIFIER,
  'webpki::cn::ipv4-hex-mismatch': COMMON_NAME,
  'webpki::cn::ipv4-leading-zeros-mismatch': COMMON_NAME,
  'webpki::cn::ipv6-uppercase-mismatch': COMMON_NAME,
  'webpki::cn::ipv6-uncompressed-mismatch': COMMON_NAME,
  'webpki::cn::ipv6-non-rfc5952-mismatch': COMMON_NAME,
  'webpki::cn::punycode-not-in-san': COMMON_NAME,
  'webpki::cn::utf8-vs-punycode-mismatch': COMMON_NAME,
  'webpki::cn::not-in-san': COMMON_NAME,
  'webpki::cn::case-mismatch': COMMON_NAME,
  'webpki::eku::ee-anyeku': PEDANTIC_USAGE,
  'webpki::eku::ee-critical-eku': PEDANTIC_USAGE,
  'webpki::eku::ee-without-eku': 'the opposite of rfc5280::eku::ee-without-eku',
  'webpki::eku::root-has-eku': PEDANTIC_USAGE,
  'webpki::nc::permitted-dns-match-noncritical': 'the opposite of rfc5280::nc::permitted-dns-match-noncritical',
  'webpki::san::public-suffix-multi-label-wildcard-san': SUFFIX,
  'webpki::san::public-suffix-private-namespace-wildcard-san': SUFFIX,
  'webpki::san::san-critical-with-nonempty-subject': 'RFC 5280 4.2.1.6 only recommends it not to be critical',
  'webpki::ca-as-leaf': 'the opposite of rfc5280::ca-as-leaf',
};

interface Outcome {
  readonly id: string;
  readonly expected: boolean;
  readonly accepted: boolean;
  readonly reason: string;
  readonly milliseconds: number;
}

async function run(test: Case): Promise<Outcome> {
  const started = performance.now();
  const result = await validatePath(
    decodePem('CERTIFICATE', test.peer_certificate),
    test.untrusted_intermediates.map((pem) => decodePem('CERTIFICATE', pem)),
    test.trusted_certs.map((pem) => decodePem('CERTIFICATE', pem)),
    optionsOf(test),
  );
  return {
    id: test.id,
    expected: test.expected_result === 'SUCCESS',
    accepted: result.ok,
    reason: result.ok ? '' : `${result.problem.code}: ${result.problem.message}`,
    milliseconds: performance.now() - started,
  };
}

function optionsOf(test: Case): PathOptions {
  const [peer = test.expected_peer_names[0]] = test.expected_peer_name === null ? [] : [test.expected_peer_name];
  return {
    purpose: test.validation_kind === 'SERVER' ? 'server-auth' : 'client-auth',
    // Cases without a time mean "now"; their certificates are valid from 1970 to 2969, so that any fixed moment will do.
    time: new Date(test.validation_time ?? '2026-06-29T00:00:00Z'),
    crls: (test.crls ?? []).map((pem) => decodePem('X509 CRL', pem)),
    ...(peer === undefined ? {} : { name: nameOf(peer) }),
    ...(test.max_chain_depth === null ? {} : { maxDepth: test.max_chain_depth }),
  };
}

function nameOf(peer: { readonly kind: 'DNS' | 'IP' | 'RFC822'; readonly value: string }): PeerName {
  if (peer.kind === 'IP') return { ip: peer.value };
  return peer.kind === 'DNS' ? { dns: peer.value } : { email: peer.value };
}

describe.skipIf(absent !== false)(`x509-limbo${absent === false ? '' : ` (skipped: ${absent})`}`, () => {
  it('agrees with the expected results, with no false accept in rfc5280, pathlen, cve and crl', {
    timeout: 120_000,
  }, async () => {
    const { testcases } = JSON.parse(readFileSync(file, 'utf8')) as { testcases: readonly Case[] };
    const outcomes: Outcome[] = [];
    for (const test of testcases) outcomes.push(await run(test));
    const wrong = outcomes.filter((each) => each.accepted !== each.expected);
    const strict = /^(rfc5280|pathlen|cve|crl)::/;
    expect(wrong.filter((each) => each.accepted && strict.test(each.id)).map((each) => each.id)).toEqual([]);
    expect(outcomes.length).toBe(207);
    const unexpected = wrong.filter((each) => DISAGREEMENTS[each.id] === undefined);
    expect(unexpected.map((each) => `${each.id} ${each.accepted ? 'accepted' : each.reason}`)).toEqual([]);
    expect(wrong.map((each) => each.id).sort()).toEqual(Object.keys(DISAGREEMENTS).sort());
    expect(outcomes.length - wrong.length).toBeGreaterThanOrEqual(185);
    expect(Math.max(...outcomes.map((each) => each.milliseconds))).toBeLessThan(1000);
  });
});
