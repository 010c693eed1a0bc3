/** The authority: a root and a device CA, whose keys are both in the PAL, a device certificate, and a CRL. */
import { join } from 'node:path';
import {
  createCertificate,
  createCrl,
  decodePem,
  encodePem,
  type Issuer,
  issueFromCsr,
  type NameInput,
  PROFILES,
  type RevokedCertificate,
  type Signer,
} from '@casemate/pki';
import { type KeyKeeper, readIfThere, writeWhole } from './ca.js';

/** Everything below this name. */
const MAKER: NameInput = { countryName: 'DE', organizationName: 'Maker' };

/** Both CAs. */
export interface Authority {
  /** The root's certificate, DER. */
  readonly root: Uint8Array;
  /** The device CA's certificate, DER. */
  readonly deviceCa: Uint8Array;
  /** Issues a device certificate for a request (DER), as the profile allows. */
  issue(csr: Uint8Array): Promise<Uint8Array>;
  /** Makes the device CA's CRL. */
  crl(number: bigint, revoked: readonly RevokedCertificate[]): Promise<Uint8Array>;
}

/** Opens the authority; certificates that are there already are kept. */
export async function openAuthority(keys: KeyKeeper, state: string): Promise<Authority> {
  const rootKey = await keys.key('root');
  const root = await kept(join(state, 'root.pem'), () => certify('Root CA', rootKey, { signer: rootKey }, 'rootCa'));
  const caKey = await keys.key('device-ca');
  const issuer = { certificate: root, signer: rootKey };
  const deviceCa = await kept(join(state, 'device-ca.pem'), () => certify('Device CA', caKey, issuer, 'deviceCa'));
  const own = { certificate: deviceCa, signer: caKey };
  return {
    root,
    deviceCa,
    issue: (csr) => issueFromCsr(csr, { profile: PROFILES.device, issuer: own }),
    crl(number, revoked) {
      const thisUpdate = new Date();
      const nextUpdate = new Date(thisUpdate.getTime() + 7 * 86_400_000);
      return createCrl({ issuer: own, number, revoked, thisUpdate, nextUpdate });
    },
  };
}

function certify(name: string, key: Signer, issuer: Issuer, profile: 'rootCa' | 'deviceCa'): Promise<Uint8Array> {
  return createCertificate({
    profile: PROFILES[profile],
    subject: { ...MAKER, commonName: name },
    publicKey: key.publicKey,
    issuer,
  });
}

async function kept(path: string, make: () => Promise<Uint8Array>): Promise<Uint8Array> {
  const text = await readIfThere(path);
  if (text !== undefined) return decodePem('CERTIFICATE', text.toString());
  const made = await make();
  await writeWhole(path, encodePem('CERTIFICATE', made));
  return made;
}
