/** Templates as JSON: every member is checked, and what is wrong is told with its place. */

import { PkiError } from './error.js';
import { KEY_USAGES } from './extension.js';
import { type HierarchyTemplate, templateProblems } from './hierarchy.js';
import { EXTENDED_KEY_USAGE } from './oid.js';
import { PROFILES } from './profile.js';
import { TRUSTME_PROFILES } from './trustme-template.js';

type Check = (value: unknown, place: string, problems: string[]) => void;

const MAX_PROBLEMS = 50;
const MAX_CERTIFICATES = 200;

/**
 * Reads a template from JSON text or from what JSON.parse made of it. In place of a profile may stand the name of one of
 * `PROFILES` or `TRUSTME_PROFILES`: `"profile": "deviceCa"`.
 * Throws {@link PkiError} `bad-input`; each line of its text is a problem with its place, such as `certificates[2].profile.ca`.
 */
export function parseTemplate(json: unknown): HierarchyTemplate {
  const value = typeof json === 'string' ? parseJson(json) : json;
  const problems: string[] = [];
  TEMPLATE(value, '', problems);
  if (problems.length > 0) throw refused(problems);
  // TEMPLATE has looked at every member.
  const template = withProfiles(value as Written);
  const unsound = templateProblems(template);
  if (unsound.length > 0) throw refused(unsound);
  return template;
}

function refused(problems: readonly string[]): PkiError {
  return new PkiError(
    'bad-input',
    `read template:\n${problems
      .slice(0, MAX_PROBLEMS)
      .map((line) => `  ${line}`)
      .join('\n')}`,
  );
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new PkiError(
      'bad-input',
      `read template: expected JSON, got text that is none (${cause instanceof Error ? cause.message : ''})`,
      cause,
    );
  }
}

const NAMED = { ...PROFILES, ...TRUSTME_PROFILES };

type Written = Omit<HierarchyTemplate, 'certificates'> & {
  readonly certificates: readonly (Omit<HierarchyTemplate['certificates'][number], 'profile'> & {
    readonly profile: HierarchyTemplate['certificates'][number]['profile'] | keyof typeof NAMED;
  })[];
};

function withProfiles(written: Written): HierarchyTemplate {
  return {
    ...written,
    certificates: written.certificates.map((entry) => ({
      ...entry,
      profile: typeof entry.profile === 'string' ? NAMED[entry.profile] : entry.profile,
    })),
  };
}

function tell(problems: string[], place: string, expected: string, value: unknown): void {
  if (problems.length > MAX_PROBLEMS) return;
  const got = value === undefined ? 'nothing' : (JSON.stringify(value) ?? String(value)).slice(0, 60);
  problems.push(`${place === '' ? 'template' : place}: expected ${expected}, got ${got}`);
}

const text: Check = (value, place, problems) => {
  if (typeof value !== 'string' || value === '' || value.length > 1000) tell(problems, place, 'text', value);
};
const whole: Check = (value, place, problems) => {
  if (typeof value !== 'number' || !Number.isInteger(value)) tell(problems, place, 'a whole number', value);
};
const truth: Check = (value, place, problems) => {
  if (typeof value !== 'boolean') tell(problems, place, 'true or false', value);
};

function oneOf(words: readonly string[]): Check {
  return (value, place, problems) => {
    if (typeof value !== 'string' || !words.includes(value)) tell(problems, place, `one of ${words.join(', ')}`, value);
  };
}

function list(member: Check, most = 64): Check {
  return (value, place, problems) => {
    if (!Array.isArray(value) || value.length > most) return tell(problems, place, `a list of at most ${most}`, value);
    for (const [i, each] of value.entries()) member(each, `${place}[${i}]`, problems);
  };
}

/** Members whose names end in `?` may be missing; no others may be there. */
function object(members: Readonly<Record<string, Check>>): Check {
  return (value, place, problems) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      return tell(problems, place, 'an object', value);
    const at = (name: string) => (place === '' ? name : `${place}.${name}`);
    for (const [key, check] of Object.entries(members)) {
      const name = key.replace('?', '');
      if (Object.hasOwn(value, name)) check((value as Record<string, unknown>)[name], at(name), problems);
      else if (!key.endsWith('?')) tell(problems, at(name), 'it to be there', undefined);
    }
    for (const [name, member] of Object.entries(value)) {
      if (!Object.hasOwn(members, name) && !Object.hasOwn(members, `${name}?`))
        tell(problems, at(name), 'no such member', member);
    }
  };
}

const SUBJECT = object({
  'countryName?': text,
  'stateOrProvinceName?': text,
  'localityName?': text,
  'organizationName?': text,
  'organizationalUnitName?': text,
});
const SUBTREES = object({
  'dns?': list(text),
  'email?': list(text),
  'uri?': list(text),
  'ip?': list(text),
  'directory?': list(SUBJECT),
});
const ALTERNATIVE_NAMES = ['dns', 'email', 'uri', 'ip', 'permanentIdentifier', 'hardwareModule', 'tpm'] as const;
const eachName = (check: Check) => object(Object.fromEntries(ALTERNATIVE_NAMES.map((name) => [`${name}?`, check])));
const presence = oneOf(['required', 'optional']);
const usage: Check = (value, place, problems) => {
  if (typeof value === 'string' && (Object.hasOwn(EXTENDED_KEY_USAGE, value) || /^[012](\.\d+)+$/.test(value))) return;
  tell(problems, place, `an identifier or one of ${Object.keys(EXTENDED_KEY_USAGE).join(', ')}`, value);
};
const PROFILE_FIELDS = object({
  name: text,
  validityDays: whole,
  'ca?': object({ pathLength: whole }),
  keyUsage: list(oneOf(KEY_USAGES)),
  'extendedKeyUsage?': list(usage),
  'nameConstraints?': object({ 'permitted?': SUBTREES, 'excluded?': SUBTREES }),
  subject: object(
    Object.fromEntries(
      [
        'countryName',
        'stateOrProvinceName',
        'localityName',
        'organizationName',
        'organizationalUnitName',
        'serialNumber',
        'commonName',
      ].map((name) => [`${name}?`, presence]),
    ),
  ),
  'subjectAltName?': eachName(object({ presence, 'max?': whole, 'pattern?': text })),
  'keys?': list(oneOf(['P-256', 'P-384', 'P-521', 'rsa', 'ed25519', 'ml-dsa-44', 'ml-dsa-65', 'ml-dsa-87'])),
  'policies?': list(text),
  'ocspNoCheck?': truth,
});
const PROFILE: Check = (value, place, problems) =>
  typeof value === 'string'
    ? oneOf(Object.keys(NAMED))(value, place, problems)
    : PROFILE_FIELDS(value, place, problems);
const ENTRY = object({
  name: text,
  'issuer?': text,
  commonName: text,
  'subjectAltName?': eachName(list(text)),
  use: text,
  profile: PROFILE,
  'algorithm?': text,
  'crlUri?': text,
  'certificateUri?': text,
  'ocspUri?': text,
});
const TEMPLATE = object({ name: text, subject: SUBJECT, algorithm: text, certificates: list(ENTRY, MAX_CERTIFICATES) });
