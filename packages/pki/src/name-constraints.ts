/** Applying name constraints to the certificates below a CA (RFC 5280 sections 4.2.1.10, 6.1.3 (b) and (c), 7). */
import type { Certificate } from './certificate.js';
import { isDnsName, isMailbox, type NameConstraints } from './extension.js';
import type { GeneralName } from './general-name.js';
import { isWithinName, nameText, nameValues } from './name.js';
import { ATTRIBUTE_TYPE } from './oid.js';
import { sameMailbox } from './peer-name.js';

/** The part of a certificate that has names. */
export type NamedCertificate = Pick<Certificate, 'subject' | 'subjectAltName'>;

/** A bound on comparisons: names and subtrees are chosen by others, and their product is the work. */
export interface ComparisonBudget {
  left: number;
}

/**
 * Why `certificate` has a name that `constraints` do not permit; undefined where every name is permitted, `'too-complex'` where the
 * budget ran out.
 */
export function nameConstraintProblem(
  certificate: NamedCertificate,
  constraints: NameConstraints,
  budget: ComparisonBudget,
): string | undefined {
  for (const name of constrainedNames(certificate)) {
    budget.left -= constraints.permitted.length + constraints.excluded.length;
    if (budget.left < 0) return 'too-complex';
    const excluded = constraints.excluded.find((base) => isComparable(name, base) && !isOutside(name, base));
    if (excluded !== undefined) return `expected a name outside ${describe(excluded)}, got ${describe(name)}`;
    const permitted = constraints.permitted.filter((base) => isComparable(name, base));
    if (permitted.length > 0 && !permitted.some((base) => isInside(name, base))) {
      return `expected a name inside ${permitted.slice(0, 3).map(describe).join(' or ')}, got ${describe(name)}`;
    }
  }
  return undefined;
}

/** Subject, alternative names, and the subject's mailboxes where no alternative name is one (RFC 5280 4.2.1.10). */
function constrainedNames(certificate: NamedCertificate): readonly GeneralName[] {
  const names = certificate.subjectAltName ?? [];
  const { subject } = certificate;
  const mailboxes = names.some((name) => name.type === 'email') ? [] : nameValues(subject, ATTRIBUTE_TYPE.emailAddress);
  return [
    ...(subject.relativeNames.length === 0 ? [] : [{ type: 'directory', value: subject } as const]),
    ...mailboxes.map((value) => ({ type: 'email', value }) as const),
    ...names,
  ];
}

function isComparable(name: GeneralName, base: GeneralName): boolean {
  return name.type === base.type && (name.type !== 'other' || (base.type === 'other' && name.tag === base.tag));
}

/** Whether every host that `name` stands for lies inside `base`. */
function isInside(name: GeneralName, base: GeneralName): boolean {
  switch (base.type) {
    case 'dns':
      return name.type === 'dns' && isUnder(name.value.replace(/^\*\./, ''), base.value);
    case 'email':
      return name.type === 'email' && isMailboxInside(name.value, base.value);
    case 'uri':
      return name.type === 'uri' && isHostInside(hostOf(name.value), base.value);
    case 'ip':
      return name.type === 'ip' && isAddressInside(name.value, base.value);
    case 'directory':
      return name.type === 'directory' && isWithinName(name.value, base.value);
    case 'other':
      // Nobody told us how to compare these; a permitted one permits nothing.
      return false;
  }
}

/** Whether surely no host that `name` stands for lies inside `base`; doubt is no. */
function isOutside(name: GeneralName, base: GeneralName): boolean {
  if (base.type === 'other') return false;
  if (name.type === 'uri' && hostOf(name.value) === undefined) return false;
  if (name.type === 'email' && !isMailbox(name.value)) return false;
  if (
    name.type === 'dns' &&
    base.type === 'dns' &&
    name.value.startsWith('*.') &&
    coversLabelOf(name.value, base.value)
  )
    return false;
  return !isInside(name, base);
}

/** Whether the wildcard can stand for the host `base` itself: `*.example.com` and `bar.example.com`. */
function coversLabelOf(wildcard: string, base: string): boolean {
  const parent = base.slice(base.indexOf('.') + 1);
  return base.includes('.') && parent.toLowerCase() === wildcard.slice(2).toLowerCase();
}

function isUnder(host: string, domain: string): boolean {
  if (domain === '') return true;
  const [name, base] = [host.toLowerCase(), domain.toLowerCase()];
  return name === base || name.endsWith(`.${base}`);
}

function isMailboxInside(mailbox: string, base: string): boolean {
  if (base.includes('@')) return sameMailbox(mailbox, base);
  if (!isMailbox(mailbox)) return false;
  return isHostInside(mailbox.split('@')[1], base);
}

/** A leading period stands for every host in the domain but not the domain itself. */
function isHostInside(host: string | undefined, base: string): boolean {
  if (host === undefined) return false;
  const name = host.toLowerCase();
  return base.startsWith('.') ? name.endsWith(base.toLowerCase()) : name === base.toLowerCase();
}

/** The host in a URI's authority; undefined where it has none or an address instead (RFC 5280 4.2.1.10). */
function hostOf(uri: string): string | undefined {
  const match = /^[A-Za-z][A-Za-z0-9+.-]*:\/\/(?:[^/?#@]*@)?([^/?#:@]+)(?::\d*)?(?:[/?#]|$)/.exec(uri);
  const host = match?.[1];
  return host !== undefined && isDnsName(host) ? host : undefined;
}

function isAddressInside(address: Uint8Array, base: Uint8Array): boolean {
  const { length } = address;
  if (base.length !== 2 * length) return false;
  return address.every((octet, i) => {
    const mask = base[length + i] ?? 0;
    return (octet & mask) === ((base[i] ?? 0) & mask);
  });
}

function describe(name: GeneralName): string {
  if (name.type === 'directory') return `"${nameText(name.value)}"`;
  if (name.type === 'ip') return `address ${name.value.join('.')}`;
  if (name.type === 'other') return `a name of type ${name.tag}`;
  return `${name.type} "${name.value}"`;
}
