/** The default template: the whole tree of trust|me's PKI, with the path lengths, constraints, purposes and locations that it lacks. */
import type { SignatureAlgorithm } from './algorithm.js';
import type { NameConstraintsInput } from './alternative-name.js';
import type { HierarchyTemplate, TemplateEntry } from './hierarchy.js';
import { type CertificateProfile, PROFILES } from './profile.js';

/** What {@link trustmeTemplate} is made for. */
export interface TrustmeOptions {
  /** Country, organization and unit of every subject; an organization is needed, the CAs are bound to it. */
  readonly subject: HierarchyTemplate['subject'] & { readonly organizationName: string };
  /** The domain of the backend, to which its CA is bound: `maker.example`. */
  readonly domain: string;
  /** Where CRLs, CA certificates and OCSP are served; `http://pki.DOMAIN` without it. */
  readonly location?: string;
  /** `ecdsa` (roots P-384, the rest P-256) without it; `rsa` for RSA-4096 as trust|me has it, images and configurations signed with PSS and SHA-512. */
  readonly keys?: 'ecdsa' | 'rsa';
}

const { rootCa: root, softwareSigning: leaf, softwareSigningCa: signingCa } = PROFILES;
const caSubject = root.subject;

/** Profiles of the template beside `PROFILES`. */
export const TRUSTME_PROFILES = {
  /** Issues certificates that sign GuestOS images and configurations. */
  imageSigningCa: { ...signingCa, name: 'image-signing-ca' },
  /** Signs GuestOS images, container configurations and updates. */
  imageSigning: { ...leaf, name: 'image-signing' },
  /** Signs kernel modules and firmware, and nothing that boots: its key goes into the kernel. */
  moduleSigning: { ...leaf, name: 'module-signing' },
  /** Issues certificates of users' tokens. */
  userCa: { ...PROFILES.deviceCa, name: 'user-ca', extendedKeyUsage: ['clientAuth', 'emailProtection'] },
  /** A user's token. */
  user: {
    name: 'user',
    validityDays: 1095,
    keyUsage: ['digitalSignature', 'keyEncipherment'],
    extendedKeyUsage: ['clientAuth', 'emailProtection'],
    subject: caSubject,
    subjectAltName: { email: { presence: 'optional' } },
    keys: ['P-256', 'P-384', 'rsa'],
  },
  /** Issues certificates of the backend's servers. */
  backendCa: { ...PROFILES.deviceCa, name: 'backend-ca', extendedKeyUsage: ['serverAuth', 'clientAuth'] },
  /** A server of the backend. */
  backend: {
    name: 'backend',
    validityDays: 397,
    keyUsage: ['digitalSignature'],
    extendedKeyUsage: ['serverAuth'],
    subject: caSubject,
    subjectAltName: { dns: { presence: 'required', max: 16 } },
    keys: ['P-256', 'P-384', 'rsa', 'ed25519'],
  },
} as const satisfies Readonly<Record<string, CertificateProfile>>;

/**
 * The tree: software-signing root with its CAs for software and for images, and their signers, the kernel modules' apart; general
 * root with the CAs for devices, users, backend and attestation keys, an OCSP responder for each of them, and a backend server.
 */
export function trustmeTemplate(options: TrustmeOptions): HierarchyTemplate {
  const { subject, domain, keys = 'ecdsa', location = `http://pki.${domain}` } = options;
  const algorithms = ALGORITHMS[keys];
  const place = (name: string, hasOcsp: boolean) => ({
    crlUri: `${location}/crl/${name}.crl`,
    certificateUri: `${location}/ca/${name}.cer`,
    ...(hasOcsp ? { ocspUri: `${location}/ocsp/${name}` } : {}),
  });
  const rootEntry = (name: string, commonName: string, use: string): TemplateEntry => ({
    name,
    commonName,
    use,
    profile: root,
    algorithm: algorithms.root,
    ...place(name, false),
  });
  const ca = (
    issuer: string,
    name: string,
    commonName: string,
    profile: CertificateProfile,
    use: string,
    more: Partial<TemplateEntry> = {},
  ): TemplateEntry => ({
    name,
    issuer,
    commonName,
    use,
    profile: bound(profile, { permitted: { directory: [subject] } }),
    ...place(name, issuer === 'general-root'),
    ...more,
  });
  const end = (
    issuer: string,
    name: string,
    commonName: string,
    profile: CertificateProfile,
    use: string,
    more: Partial<TemplateEntry> = {},
  ): TemplateEntry => ({
    name,
    issuer,
    commonName,
    use,
    profile,
    ...more,
  });
  const responder = (issuer: string, what: string) =>
    end(
      issuer,
      `${issuer}-ocsp`,
      `${what} OCSP`,
      PROFILES.ocspResponder,
      `answers whether certificates of ${issuer} are revoked`,
    );
  const backendNames = { permitted: { directory: [subject], dns: [domain] } };
  return {
    name: 'trustme',
    subject,
    algorithm: algorithms.other,
    certificates: [
      rootEntry(
        'software-signing-root',
        'Software Signing Root CA',
        'anchor of everything that may be executed; in the boot image',
      ),
      ca(
        'software-signing-root',
        'software-signing-ca',
        'Software Signing CA',
        signingCa,
        'issues signers of kernels, firmware and modules',
      ),
      end('software-signing-ca', 'software-signing', 'Software Signing', leaf, 'signs kernels and boot images'),
      end(
        'software-signing-ca',
        'module-signing',
        'Module Signing',
        TRUSTME_PROFILES.moduleSigning,
        'signs kernel modules and firmware; its key is no CA and boots nothing',
      ),
      ca(
        'software-signing-root',
        'image-signing-ca',
        'Image Signing CA',
        TRUSTME_PROFILES.imageSigningCa,
        'issues signers of GuestOS images and configurations',
        { algorithm: algorithms.image },
      ),
      end(
        'image-signing-ca',
        'image-signing',
        'Image Signing',
        TRUSTME_PROFILES.imageSigning,
        'signs GuestOS images, container configurations and updates',
        { algorithm: algorithms.image },
      ),
      rootEntry('general-root', 'General Root CA', 'anchor of devices, users, the backend and attestation'),
      ca('general-root', 'device-ca', 'Device CA', PROFILES.deviceCa, 'issues device certificates for keys in TPMs'),
      responder('device-ca', 'Device CA'),
      ca('general-root', 'user-ca', 'User CA', TRUSTME_PROFILES.userCa, "issues certificates of users' tokens"),
      responder('user-ca', 'User CA'),
      ca(
        'general-root',
        'backend-ca',
        'Backend CA',
        bound(TRUSTME_PROFILES.backendCa, backendNames),
        "issues certificates of the backend's servers",
      ),
      responder('backend-ca', 'Backend CA'),
      end('backend-ca', 'backend', 'Backend', TRUSTME_PROFILES.backend, 'the TLS server that devices talk to', {
        subjectAltName: { dns: [`backend.${domain}`] },
      }),
      ca(
        'general-root',
        'attestation-ca',
        'Attestation CA',
        PROFILES.attestationCa,
        'issues certificates for attestation keys',
      ),
      responder('attestation-ca', 'Attestation CA'),
    ],
  };
}

/** The profile with constraints, where it has none yet. */
function bound(profile: CertificateProfile, nameConstraints: NameConstraintsInput): CertificateProfile {
  return { ...profile, nameConstraints: profile.nameConstraints ?? nameConstraints };
}

const ALGORITHMS: Readonly<Record<'ecdsa' | 'rsa', Readonly<Record<'root' | 'other' | 'image', SignatureAlgorithm>>>> =
  {
    ecdsa: { root: 'ecdsa-p384-sha384', other: 'ecdsa-p256-sha256', image: 'ecdsa-p256-sha256' },
    rsa: { root: 'rsassa-4096-sha256', other: 'rsassa-4096-sha256', image: 'rsapss-4096-sha512' },
  };
