/** What the processes of a roll-out share: where the service is, who makes the TPMs, which names the devices have. */
import type { CertificateProfile, HierarchyTemplate } from '@casemate/pki';

/** Handed to every process as JSON. */
export interface Plan {
  /** The directory with the hierarchy, the keys of the service and, for SQLite, its database. */
  readonly directory: string;
  /** Where the authority's store is. */
  readonly store:
    | { readonly kind: 'sqlite'; readonly path: string }
    | { readonly kind: 'postgres'; readonly connection: object };
  /** The TLS certificate and key of the service, and the root that devices know, PEM. */
  readonly tls: { readonly certificate: string; readonly key: string; readonly root: string };
  /** The key (PKCS#8) that signs the audit log, base64. */
  readonly auditKey: string;
  /** The maker's CA: certificate (DER) and key (PKCS#8), base64. */
  readonly maker: { readonly certificate: string; readonly key: string };
}

/** What a device process is started with. */
export interface DevicePlan extends Plan {
  /** The services, `https://…`. */
  readonly services: readonly string[];
  /** The devices of this process: from, and how many. */
  readonly first: number;
  readonly count: number;
  /** How many enrol at the same time. */
  readonly lanes: number;
}

/** What a device process reports of each device. */
export interface DeviceReport {
  readonly device: number;
  /** Milliseconds from the first request to both certificates, with everything that the TPM does and every try. */
  readonly enrolment: number;
  /** Milliseconds of each request that was answered with 200. */
  readonly requests: readonly number[];
  /** How often it started again. */
  readonly retries: number;
  /** Serial numbers of the AK's and the device's certificate. */
  readonly serials: readonly [string, string];
}

/** The name of the audit log. */
export const ORIGIN = 'maker.example/rollout';

/** The makers' CA: its certificates are for endorsement keys. */
export const EK_PROFILE: CertificateProfile = {
  name: 'endorsement-key',
  validityDays: 3650,
  keyUsage: ['keyAgreement'],
  extendedKeyUsage: ['tcgEkCertificate'],
  subject: {},
  subjectAltName: { tpm: { presence: 'required' } },
};

/** The certificate of the service itself. */
export const TLS_PROFILE: CertificateProfile = {
  name: 'service',
  validityDays: 90,
  keyUsage: ['digitalSignature'],
  extendedKeyUsage: ['serverAuth'],
  subject: { countryName: 'required', organizationName: 'required', commonName: 'required' },
  subjectAltName: { dns: { presence: 'required' }, ip: { presence: 'optional' } },
};

/** All on P-256: a roll-out is about numbers. */
export function onP256(template: HierarchyTemplate): HierarchyTemplate {
  const algorithm = 'ecdsa-p256-sha256';
  return { ...template, algorithm, certificates: template.certificates.map((each) => ({ ...each, algorithm })) };
}

/** The name of a device: a UUID that says its number. */
export function deviceUri(device: number): string {
  return `urn:uuid:00000000-0000-4000-8000-${device.toString(16).padStart(12, '0')}`;
}
