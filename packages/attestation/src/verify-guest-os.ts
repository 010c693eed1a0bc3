/** Is what was measured before it ran the GuestOS that its maker signed. */
import { PkiError, verifyDocument } from '@casemate/pki';
import { sha256 } from '@noble/hashes/sha2.js';
import { type Check, type CheckName, failed, notMade, passed } from './check.js';
import type { GuestOsClaims } from './claims.js';
import type { Evidence, GuestOsEvidence } from './evidence.js';
import type { Measurement } from './measurements.js';
import { equalBytes, hex } from './octets.js';
import type { GuestOsStatement } from './statement.js';
import type { VerifyOptions } from './verify.js';
import { certifiedKey } from './verify-certificates.js';

/** What was established about the GuestOSes. */
export interface GuestOsesResult {
  /** Named `config`, `image` and `signature`. */
  readonly checks: readonly Check[];
  /** There when all checks held. */
  readonly guestOses: readonly GuestOsClaims[] | undefined;
}

/**
 * Verifies each configuration's signature, finds the statement that measured it, and compares the two. A statement without its
 * configuration, and a configuration without its statement, fail.
 */
export async function verifyGuestOses(
  evidence: Evidence,
  measurements: readonly Measurement[] | undefined,
  options: VerifyOptions,
): Promise<GuestOsesResult> {
  const statements = measurements?.flatMap(({ statement }) => (statement.type === 'guestos' ? [statement] : []));
  const results = await Promise.all(evidence.guestOses.map((each) => verifyGuestOs(each, statements, options)));
  const checks = [...results.flatMap((result) => result.checks), ...unexplained(statements, evidence.guestOses)];
  const missing = (['config', 'image', 'signature'] as const).filter(
    (name) => !checks.some((check) => check.name === name),
  );
  const all = [...checks, ...missing.map((name) => passed(name, 'no GuestOS was measured'))];
  const guestOses = results.flatMap(({ claims }) => claims ?? []);
  return { checks: all, guestOses: all.every(({ ok }) => ok) ? guestOses : undefined };
}

async function verifyGuestOs(
  guestOs: GuestOsEvidence,
  statements: readonly GuestOsStatement[] | undefined,
  options: VerifyOptions,
): Promise<{ readonly checks: readonly Check[]; readonly claims?: GuestOsClaims }> {
  const signer = await verifySigner(guestOs, options);
  const signature =
    typeof signer === 'string' ? failed('signature', signer) : passed('signature', `signed by ${signer.subject}`);
  if (!statements) return { checks: [signature, notCompared('config'), notCompared('image')] };
  const configDigest = sha256(guestOs.configuration);
  const measured = statements.filter((statement) => equalBytes(statement.configDigest, configDigest));
  const [statement] = measured;
  if (!statement) {
    const problem = `the configuration with digest ${hex(configDigest)} was not measured`;
    return { checks: [signature, failed('config', problem), notMade('image', ['config'], 'nothing to compare with')] };
  }
  const checks = [signature, ...compare(guestOs, measured, options)];
  const { name, version, imageDigest } = statement;
  if (typeof signer === 'string' || !checks.every(({ ok }) => ok)) return { checks };
  return { checks, claims: { name, version, configDigest, imageDigest, signer } };
}

async function verifySigner(
  guestOs: GuestOsEvidence,
  { anchors, time, crls }: VerifyOptions,
): Promise<GuestOsClaims['signer'] | string> {
  try {
    const result = await verifyDocument(guestOs.configuration, guestOs.signature, {
      anchors: anchors.software,
      purpose: 'code-signing',
      time,
      ...(crls ? { crls } : {}),
    });
    if (!result.ok) return result.problem.message;
    return { ...certifiedKey(result.signer), extendedKeyUsage: result.signer.extendedKeyUsage ?? [] };
  } catch (error) {
    if (error instanceof PkiError) return error.message;
    throw error;
  }
}

/** The same configuration may have been started several times; each start must have measured the image that it names. */
function compare(
  guestOs: GuestOsEvidence,
  measured: readonly GuestOsStatement[],
  { readConfiguration }: VerifyOptions,
): readonly Check[] {
  let configuration: ReturnType<VerifyOptions['readConfiguration']>;
  try {
    configuration = readConfiguration(guestOs.configuration);
  } catch (error) {
    const problem = `the configuration cannot be read: ${error instanceof Error ? error.message : String(error)}`;
    return [failed('config', problem), notMade('image', ['config'], 'nothing to compare with')];
  }
  const { name, version, imageDigest } = configuration;
  const what = `${name} version ${version}`;
  const sameConfig = measured.every((statement) => statement.name === name && statement.version === version);
  const sameImage = measured.every((statement) => equalBytes(statement.imageDigest, imageDigest));
  return [
    sameConfig
      ? passed('config', `${what} was measured`)
      : failed('config', `${what} was measured under another name or version`),
    sameImage
      ? passed('image', `the measured image of ${what} is the one that was signed`)
      : failed('image', `${what}: expected the image ${hex(imageDigest)}, another was measured`),
  ];
}

function unexplained(
  statements: readonly GuestOsStatement[] | undefined,
  guestOses: readonly GuestOsEvidence[],
): readonly Check[] {
  const given = new Set(guestOses.map(({ configuration }) => hex(sha256(configuration))));
  const unknown = statements?.filter(({ configDigest }) => !given.has(hex(configDigest))) ?? [];
  return unknown.map(({ name, version }) =>
    failed('config', `${name} version ${version} was measured, its configuration is not given`),
  );
}

function notCompared(name: CheckName): Check {
  return notMade(name, ['event-log', 'quote'], 'the event log does not say what was measured');
}
