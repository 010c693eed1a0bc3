/** Is what authentic evidence claims acceptable under a policy. */
import { type Check, type CheckName, failed, notMade, passed } from './check.js';
import type { Claims, GuestOsClaims, PalClaims, QuoteClaims } from './claims.js';
import type { Failure } from './evidence.js';
import { hex } from './octets.js';
import type { GuestOsRule, PalRule, Policy } from './policy.js';

/**
 * Validates claims under a policy. Each rule gives a check under the name of the evidence that it judges; a rule whose claims are
 * missing, because their verification failed, gives a failed check that says so. Give the result to `verdict` together with the
 * checks of `verifyEvidence`.
 */
export function validateEvidence(claims: Claims, policy: Policy): readonly Check[] {
  return [
    ...validateQuote(claims.quote, policy),
    ...validateReport(claims, policy),
    ...validateGuestOses(claims, policy),
    ...validatePals(claims, policy),
  ];
}

function validateQuote(quote: QuoteClaims | undefined, policy: Policy): readonly Check[] {
  if (!quote) return [notMade('quote', NEEDS.quote, 'no authentic quote to hold against the policy')];
  const missing = Object.entries(policy.requiredPcrs).flatMap(([bank, indexes]) =>
    indexes.filter((index) => quotedValue(quote, bank, index) === undefined).map((index) => `${bank}:${index}`),
  );
  const clockOk = quote.safe || !policy.safeClockRequired;
  return [
    missing.length === 0
      ? passed('quote', 'it covers the PCRs that the policy requires')
      : failed('quote', `it does not cover ${missing.join(', ')}`),
    ...(clockOk ? [] : [failed('quote', 'the clock of the TPM is not safe')]),
    ...validatePcrValues(quote, policy),
  ];
}

function validatePcrValues(quote: QuoteClaims, policy: Policy): readonly Check[] {
  return Object.entries(policy.pcrValues ?? {}).flatMap(([bank, pcrs]) =>
    Object.entries(pcrs).map(([index, accepted]) => {
      const value = quotedValue(quote, bank, Number(index));
      if (value === undefined) return failed('quote', `it does not cover ${bank}:${index}`);
      return accepted.includes(value)
        ? passed('event-log', `${bank}:${index} has an accepted value`)
        : failed('event-log', `the policy does not accept the value ${value} of ${bank}:${index}`);
    }),
  );
}

function quotedValue(quote: QuoteClaims, bank: string, index: number): string | undefined {
  const value = Object.entries(quote.pcrs).find(([name]) => name === bank)?.[1]?.[index];
  return value && hex(value);
}

function validateReport({ report, verifiedAt }: Claims, policy: Policy): readonly Check[] {
  if (!report) return [notMade('replay', NEEDS.quote, 'no authentic report to hold against the policy')];
  const age = (verifiedAt - report.collectedAt) / 1000;
  const fresh = age <= policy.maximumAgeSeconds && -age <= policy.clockToleranceSeconds;
  const rule = `at most ${policy.maximumAgeSeconds} s old and ${policy.clockToleranceSeconds} s ahead`;
  return [
    fresh
      ? passed('replay', `collected ${age} s ago`)
      : failed('replay', `expected evidence ${rule}, got an age of ${age} s`),
    ...policy.requiredSelfChecks.map((name) =>
      report.passed.includes(name)
        ? passed(name, 'the device checked this itself')
        : unlessReported(
            report.failures,
            failed(name, 'the policy requires that the device checks this itself, and it did not report so'),
          ),
    ),
  ];
}

/** What is missing because the device refused something else is laid to that: the device says so itself, and is not trusted for it. */
function unlessReported(failures: readonly Failure[], check: Check): Check {
  const blamed = failures.map(({ name }) => name);
  if (check.ok) return check;
  return blamed.length === 0 || blamed.includes(check.name) ? check : notMade(check.name, blamed, check.detail);
}

function validateGuestOses({ guestOses, report }: Claims, policy: Policy): readonly Check[] {
  if (!guestOses) return [notMade('config', NEEDS.guestOses, 'no authentic GuestOS to hold against the policy')];
  if (guestOses.length === 0 && policy.guestOsRequired)
    return [
      unlessReported(report?.failures ?? [], failed('config', 'the policy requires a GuestOS, none was measured')),
    ];
  return guestOses.flatMap((guestOs) => validateGuestOs(guestOs, policy.guestOses));
}

function validateGuestOs(guestOs: GuestOsClaims, rules: readonly GuestOsRule[]): readonly Check[] {
  const what = `${guestOs.name} version ${guestOs.version}`;
  const rule = rules.find(({ name }) => name === guestOs.name);
  if (!rule) return [failed('config', `the policy accepts no GuestOS named ${guestOs.name}`)];
  const current = guestOs.version >= rule.minimumVersion;
  const usage = rule.signerUsage;
  const entitled = usage === undefined || guestOs.signer.extendedKeyUsage.includes(usage);
  return [
    current
      ? passed('config', `${what} is accepted`)
      : failed('config', `${what}: the policy accepts version ${rule.minimumVersion} and later`),
    entitled
      ? passed('signature', `${what} is signed by ${guestOs.signer.subject}`)
      : failed('signature', `${what}: its signer ${guestOs.signer.subject} lacks the usage ${usage}`),
  ];
}

function validatePals({ pals, measurements, report }: Claims, policy: Policy): readonly Check[] {
  if (!pals || !measurements) return [notMade('pal', NEEDS.pals, 'no authentic PAL to hold against the policy')];
  const measured = measurements.flatMap(({ statement }) => (statement.type === 'pal' ? [statement] : []));
  const certified = pals.filter((pal) => pal.certified !== undefined);
  return [
    ...[...measured, ...certified].map(({ name, measurement }) => validateCode(name, hex(measurement), policy.pals)),
    ...policy.pals
      .filter(({ required }) => required)
      .map((rule) => unlessReported(report?.failures ?? [], validateRequired(rule, pals))),
  ];
}

function validateCode(name: string, measurement: string, rules: readonly PalRule[]): Check {
  const accepted = rules.some((rule) => rule.name === name && rule.measurements.includes(measurement));
  return accepted
    ? passed('pal', `${name} has an accepted measurement`)
    : failed('pal', `the policy does not accept ${name} with the measurement ${measurement}`);
}

function validateRequired(rule: PalRule, pals: readonly PalClaims[]): Check {
  return pals.some(({ name }) => name === rule.name)
    ? passed('pal', `${rule.name} quoted itself`)
    : failed('pal', `the policy requires a quote of ${rule.name}, none was given`);
}

/** The checks of `verifyEvidence` that claims rest on. */
const NEEDS = {
  quote: ['certificate', 'quote'],
  guestOses: ['certificate', 'quote', 'event-log', 'config', 'image', 'signature'],
  pals: ['certificate', 'quote', 'event-log', 'pal'],
} as const satisfies Record<string, readonly CheckName[]>;
