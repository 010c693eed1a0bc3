/** What the report shows of the evidence: certificates by their role, and the PCRs replayed event by event. */
import { createHash } from 'node:crypto';
import { type Evidence, parseStatement, STATEMENT_TAG } from '@casemate/attestation';
import { parseEventLog } from '@casemate/firmware';
import { type Hierarchy, nameText, parseCertificate } from '@casemate/pki';
import type { ReportData, ReportPcr } from './report.js';

/** The certificates of the maker and of the device. */
export function certificateRows(
  hierarchy: Hierarchy,
  device: { readonly akCertificates: readonly Uint8Array[]; readonly deviceCertificates: readonly Uint8Array[] },
): ReportData['certificates'] {
  const maker = hierarchy.authorities.map(({ name, certificate }) => row(name.replaceAll('-', ' '), certificate));
  const own = [row('attestation key', device.akCertificates[0]), row('device', device.deviceCertificates[0])];
  return [...maker, ...own];
}

function row(role: string, der: Uint8Array | undefined): ReportData['certificates'][number] {
  if (der === undefined) throw new Error(`expected a certificate for the ${role}, got none`);
  const { subject, issuer, notAfter } = parseCertificate(der);
  return {
    role,
    subject: nameText(subject),
    issuer: nameText(issuer),
    notAfter: notAfter.toISOString().slice(0, 10),
    fingerprint: createHash('sha256').update(der).digest('hex'),
  };
}

/** The quoted SHA-256 PCRs, each with its events in order. */
export function pcrRows(evidence: Evidence): readonly ReportPcr[] {
  const log = parseEventLog(evidence.eventLog);
  return Object.entries(evidence.quote.pcrs.sha256 ?? {}).map(([index, quoted]) => {
    const own = log.events.filter((event) => event.pcrIndex === Number(index));
    let value = Buffer.alloc(32);
    const events = own.flatMap(({ digests, event }) => {
      const digest = digests.find(({ digest }) => digest.length === 32)?.digest;
      if (digest === undefined) return [];
      value = createHash('sha256').update(value).update(digest).digest();
      return [{ label: labelOf(event), digest: hex(digest), after: value.toString('hex') }];
    });
    return { bank: 'sha256', index: Number(index), quoted: hex(quoted), replayed: value.toString('hex'), events };
  });
}

/** What an event of ours says: behind tag and length stands the statement. */
function labelOf(event: Uint8Array): string {
  try {
    const tag = new DataView(event.buffer, event.byteOffset).getUint32(0, true);
    if (tag !== STATEMENT_TAG) return 'another event';
    const statement = parseStatement(event.subarray(8));
    if (statement.type === 'trustvisor') return 'TrustVisor key';
    return `${statement.type === 'guestos' ? 'GuestOS' : 'PAL'} ${statement.name} ${statement.version}`;
  } catch {
    return 'an event that cannot be read';
  }
}

/** Lower-case hexadecimal digits. */
export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
