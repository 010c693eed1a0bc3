/** Templates explain themselves: as text, and as a picture. */
import { schemeOf } from './algorithm.js';
import type { NameSubtrees } from './alternative-name.js';
import type { HierarchyTemplate, TemplateEntry } from './hierarchy.js';
import { buildName, nameText, parseName } from './name.js';
import { drawTree } from './picture.js';

/** A template in words: the tree, and for each certificate its use, key, validity, limits and locations. */
export function explainTemplate(template: HierarchyTemplate): string {
  const count = template.certificates.length;
  const subject =
    Object.keys(template.subject).length === 0 ? '' : ` of ${nameText(parseName(buildName(template.subject)))}`;
  const roots = template.certificates.filter(({ issuer }) => issuer === undefined);
  const lines = roots.flatMap((root) => ['', ...branch(root, template, '', '')]);
  return [`${template.name}: ${count} certificates${subject}`, ...lines, ''].join('\n');
}

function branch(entry: TemplateEntry, template: HierarchyTemplate, first: string, rest: string): readonly string[] {
  const below = template.certificates.filter(({ issuer }) => issuer === entry.name);
  const margin = `${rest}${below.length > 0 ? '│  ' : '   '}`;
  return [
    `${first}${entry.commonName} (${entry.name})`,
    ...facts(entry, template).map((fact) => `${margin}${fact}`),
    ...below.flatMap((child, i) =>
      i === below.length - 1
        ? branch(child, template, `${rest}└─ `, `${rest}   `)
        : branch(child, template, `${rest}├─ `, `${rest}│  `),
    ),
  ];
}

function facts(entry: TemplateEntry, template: HierarchyTemplate): readonly string[] {
  const { profile } = entry;
  const limits = limitsOf(entry);
  const places = [
    ['CRL', entry.crlUri],
    ['certificate', entry.certificateUri],
    ['OCSP', entry.ocspUri],
  ].flatMap(([what, uri]) => (uri === undefined ? [] : [`${what} at ${uri}`]));
  return [
    entry.use,
    `${keyText(entry, template)}; ${validityText(profile.validityDays)}; ${roleText(entry)}`,
    ...(limits.length === 0 ? [] : [limits.join('; ')]),
    ...(places.length === 0 ? [] : [places.join('; ')]),
  ];
}

function keyText(entry: TemplateEntry, template: HierarchyTemplate): string {
  const { key, scheme } = schemeOf(entry.algorithm ?? template.algorithm);
  switch (key.kind) {
    case 'ec':
      return `key ${key.curve}`;
    case 'rsa':
      return `key RSA-${key.bits}${scheme.kind === 'rsapss' ? ' (PSS)' : ''}`;
    case 'ed25519':
      return 'key Ed25519';
    case 'ml-dsa':
      return `key ML-DSA-${key.set}`;
  }
}

function validityText(days: number): string {
  return days % 365 === 0 ? `valid ${days / 365} ${days === 365 ? 'year' : 'years'}` : `valid ${days} days`;
}

function roleText({ profile }: TemplateEntry): string {
  const usages = profile.extendedKeyUsage?.join(', ');
  if (profile.ca === undefined) return `for ${usages ?? profile.keyUsage.join(', ')}`;
  const { pathLength } = profile.ca;
  const levels =
    pathLength === 0 ? 'no CAs' : pathLength === 1 ? 'CAs, and these none' : `CAs ${pathLength} levels deep`;
  return `a CA that may certify ${levels}${usages === undefined ? '' : `, for ${usages} alone`}`;
}

function limitsOf({ profile, subjectAltName }: TemplateEntry): readonly string[] {
  const { permitted, excluded } = profile.nameConstraints ?? {};
  const alternative: Readonly<Record<string, readonly string[] | undefined>> = { ...subjectAltName };
  const names = Object.entries(alternative).flatMap(([type, values = []]) => values.map((value) => `${type} ${value}`));
  return [
    ...(permitted === undefined ? [] : [`only for names within ${subtreeText(permitted)}`]),
    ...(excluded === undefined ? [] : [`not for names within ${subtreeText(excluded)}`]),
    ...(names.length === 0 ? [] : [`named ${names.join(', ')}`]),
    ...(profile.keys === undefined ? [] : [`certifies ${profile.keys.join(', ')}`]),
  ];
}

function subtreeText(subtrees: NameSubtrees): string {
  const { directory = [], ...rest } = subtrees;
  const others: Readonly<Record<string, readonly string[] | undefined>> = rest;
  return [
    ...directory.map((name) => nameText(parseName(buildName(name)))),
    ...Object.entries(others).flatMap(([type, values = []]) =>
      values.map((value) => `${type} ${value === '' ? '(all)' : value}`),
    ),
  ].join(', ');
}

/** A template as an SVG picture. */
export function drawTemplate(template: HierarchyTemplate): string {
  const nodes = template.certificates.map((entry) => ({
    id: entry.name,
    ...(entry.issuer === undefined ? {} : { parent: entry.issuer }),
    title: entry.commonName,
    lines: [entry.use, `${keyText(entry, template)}; ${validityText(entry.profile.validityDays)}`, roleText(entry)],
    kind:
      entry.issuer === undefined
        ? ('root' as const)
        : entry.profile.ca === undefined
          ? ('leaf' as const)
          : ('ca' as const),
  }));
  return drawTree(nodes, `${template.name}: ${nodes.length} certificates`);
}
