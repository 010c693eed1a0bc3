/** Templates: the default tree, its chains by OpenSSL, JSON with mistakes, explanations. */
import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  buildCsr,
  createCertificate,
  createHierarchy,
  generateKey,
  type Hierarchy,
  issueFromCsr,
  PkiError,
  PROFILES,
  parseCertificate,
  templateProblems,
  validatePath,
} from '../src/index.js';
import {
  drawTemplate,
  drawTree,
  explainTemplate,
  parseTemplate,
  TRUSTME_PROFILES,
  trustmeTemplate,
} from '../src/template.js';
import { opensslMissing, openWorkshop, programMissing } from './openssl.js';

const template = trustmeTemplate({
  subject: { countryName: 'DE', organizationName: 'Maker' },
  domain: 'maker.example',
});
let hierarchy: Hierarchy;
beforeAll(async () => {
  hierarchy = await createHierarchy(template);
});

describe("trust|me's template", () => {
  it('is sound, survives JSON, and every path of it is valid for its purpose', async () => {
    expect(templateProblems(template)).toEqual([]);
    expect(parseTemplate(JSON.stringify(template))).toEqual(template);
    expect(
      templateProblems(trustmeTemplate({ subject: { organizationName: 'M' }, domain: 'm.example', keys: 'rsa' })),
    ).toEqual([]);
    const purposes = {
      'software-signing': 'code-signing',
      'module-signing': 'code-signing',
      'image-signing': 'code-signing',
      backend: 'server-auth',
    } as const;
    for (const [name, purpose] of Object.entries(purposes)) {
      const { certificate, chain, root } = hierarchy.get(name);
      expect(await validatePath(certificate, chain, [root], { purpose, time: new Date() })).toMatchObject({ ok: true });
    }
  });

  it('has what trust|me lacks: path lengths, purposes, constraints, locations, and a module signer that is no CA', () => {
    for (const { name, certificate } of hierarchy.authorities) {
      const read = parseCertificate(certificate);
      const entry = template.certificates.find((each) => each.name === name);
      if (read.basicConstraints?.ca === true)
        expect(read.basicConstraints.pathLength).toBe(entry?.issuer === undefined ? 1 : 0);
      if (entry?.issuer === undefined) continue;
      expect(read.extendedKeyUsage).toBeDefined();
      if (entry.profile.ca !== undefined) expect(read.nameConstraints).toBeDefined();
      const locations = read.extensions.filter(({ oid }) => oid === '2.5.29.31' || oid === '1.3.6.1.5.5.7.1.1');
      expect(locations).toHaveLength(2);
      expect(JSON.stringify(template)).not.toContain('localhost');
    }
    expect(parseCertificate(hierarchy.get('module-signing').certificate).basicConstraints?.ca ?? false).toBe(false);
  });

  it('lets no CA certify what is not its own', async () => {
    const key = await generateKey('ecdsa-p256-sha256');
    const csr = await buildCsr(key, {
      subject: { countryName: 'DE', organizationName: 'Maker', commonName: 'x' },
      subjectAltName: { dns: ['www.other.example'] },
    });
    const { issuer } = hierarchy.get('backend-ca');
    await expect(issueFromCsr(csr, { profile: TRUSTME_PROFILES.backend, issuer })).rejects.toMatchObject({
      code: 'not-allowed',
    });
    const request = { publicKey: key.publicKey, subject: { organizationName: 'Other', commonName: 'x' } };
    const other = createCertificate({
      ...request,
      profile: PROFILES.softwareSigning,
      issuer: hierarchy.get('image-signing-ca').issuer,
    });
    await expect(other).rejects.toMatchObject({ code: 'not-allowed' });
    const wrong = createCertificate({
      ...request,
      subject: { countryName: 'DE', organizationName: 'Maker', commonName: 'x' },
      profile: PROFILES.softwareSigning,
      issuer: hierarchy.get('device-ca').issuer,
    });
    await expect(wrong).rejects.toMatchObject({ code: 'not-allowed' });
  });

  it.skipIf(opensslMissing() !== undefined)('is accepted by OpenSSL, strictly', () => {
    using work = openWorkshop();
    for (const { name, certificate, chain, root } of hierarchy.authorities) {
      if (chain[0] === root) continue;
      work.certificates('root.pem', root);
      work.certificates('chain.pem', ...chain);
      work.certificates('own.pem', certificate);
      const output = work.openssl(
        'verify',
        '-x509_strict',
        '-CAfile',
        'root.pem',
        '-untrusted',
        'chain.pem',
        'own.pem',
      );
      expect(output, name).toContain('OK');
    }
  });

  it.skipIf(programMissing('certtool') !== undefined)('is accepted by GnuTLS', () => {
    using work = openWorkshop();
    for (const name of ['image-signing', 'module-signing', 'backend', 'device-ca-ocsp']) {
      const { chain, root } = hierarchy.get(name);
      work.certificates('root.pem', root);
      work.certificates('chain.pem', ...chain);
      const verify = ['--verify', '--load-ca-certificate', 'root.pem', '--infile', 'chain.pem'];
      const output = execFileSync('certtool', verify, {
        cwd: work.path,
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      expect(output, name).toContain('Verified. The certificate is trusted.');
    }
  });
});

describe('a template in JSON', () => {
  it('may name profiles', () => {
    const json = {
      name: 'small',
      subject: {},
      algorithm: 'ed25519',
      certificates: [{ name: 'root', commonName: 'Root', use: 'anchor', profile: 'rootCa' }],
    };
    expect(parseTemplate(json).certificates[0]?.profile).toEqual(PROFILES.rootCa);
  });

  it.each([
    ['{', /expected JSON/],
    [[], /template: expected an object, got \[\]/],
    [{ ...template, algoritm: 'x' }, /algoritm: expected no such member, got "x"/],
    [
      { ...template, certificates: [{ ...template.certificates[0], profile: 'rootCA' }] },
      /certificates\[0\]\.profile: expected one of rootCa, /,
    ],
    [
      {
        ...template,
        certificates: [{ ...template.certificates[0], profile: { ...PROFILES.rootCa, validityDays: '10y' } }],
      },
      /certificates\[0\]\.profile\.validityDays: expected a whole number, got "10y"/,
    ],
    [
      {
        ...template,
        certificates: [{ ...template.certificates[0], profile: { ...PROFILES.rootCa, keyUsage: ['sign'] } }],
      },
      /certificates\[0\]\.profile\.keyUsage\[0\]: expected one of digitalSignature/,
    ],
    [
      { ...template, certificates: template.certificates.slice(1) },
      /software-signing-ca: its issuer software-signing-root does not come before it/,
    ],
    [{ ...template, algorithm: 'rsa' }, /expected a known signature algorithm, got rsa/],
    [{ ...template, certificates: undefined }, /certificates: expected a list/],
  ])('tells where it is wrong: %#', (json, message) => {
    expect(() => parseTemplate(json)).toThrow(message);
  });

  it('gives typed errors for any JSON', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (json) => {
        expect(() => parseTemplate(json)).toThrow(PkiError);
      }),
    );
  });
});

describe('an explanation', () => {
  it('names every certificate, its use and its limits', () => {
    const text = explainTemplate(template);
    for (const { name, use, crlUri } of template.certificates) {
      expect(text).toContain(`(${name})`);
      expect(text).toContain(use);
      if (crlUri !== undefined) expect(text).toContain(crlUri);
    }
    expect(text).toContain('only for names within O=Maker,C=DE, dns maker.example');
  });

  it('is a picture of well-formed XML, whatever the names are', () => {
    const picture = drawTemplate(template);
    expect(picture.match(/<rect x=/g)).toHaveLength(template.certificates.length);
    expect(picture.match(/<path /g)).toHaveLength(template.certificates.length - 2);
    const evil = drawTree([{ id: 'a', title: '<script>"\u0000&\'', lines: ['x'], kind: 'problem' }], 'a & b');
    for (const text of ['<script', '\u0000', ' & ']) expect(evil).not.toContain(text);
    expect(evil).toContain('&lt;script&gt;');
  });
});
