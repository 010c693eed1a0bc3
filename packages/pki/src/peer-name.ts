/** Whether a certificate is for the name that the caller means to talk to (RFC 9525 section 6). */
import { equalBytes } from './bytes.js';
import type { Certificate } from './certificate.js';
import { isMailbox } from './extension.js';
import { type GeneralName, parseIpAddress } from './general-name.js';

/** The name that the leaf must be for; only subjectAltName counts, never the common name. */
export type PeerName =
  | { readonly dns: string }
  | { readonly ip: string }
  | { readonly email: string }
  | { readonly uri: string };

/** Whether one of the certificate's alternative names is `peer`. Throws {@link PkiError} `bad-input` for a malformed address. */
export function isForName(certificate: Certificate, peer: PeerName): boolean {
  const names = certificate.subjectAltName ?? [];
  if ('ip' in peer) {
    const address = parseIpAddress(peer.ip);
    return names.some((name) => name.type === 'ip' && equalBytes(name.value, address));
  }
  return names.some((name) => matches(name, peer));
}

function matches(name: GeneralName, peer: Exclude<PeerName, { ip: string }>): boolean {
  if ('dns' in peer) return name.type === 'dns' && matchesHost(name.value, peer.dns);
  if ('email' in peer) return name.type === 'email' && sameMailbox(name.value, peer.email);
  return name.type === 'uri' && name.value === peer.uri;
}

/** A wildcard stands for exactly one whole leftmost label, and never for a name directly under a top-level domain. */
function matchesHost(pattern: string, host: string): boolean {
  const wanted = host.toLowerCase().split('.');
  const offered = pattern.toLowerCase().split('.');
  if (wanted.length !== offered.length) return false;
  const wildcard = offered[0] === '*' && offered.length > 2;
  return offered.every((label, i) => (i === 0 && wildcard ? wanted[0] !== '' : label === wanted[i]));
}

/** Local parts are compared exactly, domains without regard to case (RFC 5280 section 7.5). */
export function sameMailbox(a: string, b: string): boolean {
  if (!isMailbox(a) || !isMailbox(b)) return false;
  const [localA, domainA = ''] = a.split('@');
  const [localB, domainB = ''] = b.split('@');
  return localA === localB && domainA.toLowerCase() === domainB.toLowerCase();
}
