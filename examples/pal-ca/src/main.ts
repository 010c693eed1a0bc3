/** `pal-ca [CSR…] [--state DIRECTORY] [--tpm DEVICE]`: opens the authority and issues a certificate for each request, or for a device of its own. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { buildCsr, decodePem, encodePem, generateKey, validatePath } from '@casemate/pki';
import { openAuthority } from './authority.js';
import { buildCa, whyNot } from './build.js';
import { withKeys } from './ca.js';

const USAGE = `usage: pal-ca [CSR…] [--state DIRECTORY] [--tpm DEVICE] [--help]
Issues a device certificate for each request (PEM), or for a device of its own where none is given.
`;

process.exitCode = await main();

async function main(): Promise<number> {
  const given = parsed();
  if (given === undefined || given.values.help) {
    process[given ? 'stdout' : 'stderr'].write(USAGE);
    return given ? 0 : 2;
  }
  const { values, positionals } = given;
  const reason = await whyNot();
  if (reason !== undefined) {
    console.error(`pal-ca: ${reason}`);
    return 1;
  }
  const state = values.state ?? 'pal-ca-state';
  const image = await buildCa();
  console.log(`the PAL is built: ${image.length} bytes, mbedTLS in it`);
  await withKeys(image, { state, tpm: values.tpm }, async (keys) => {
    const authority = await openAuthority(keys, state);
    console.log(`Root CA and Device CA: their keys are in ${state}, sealed to that PAL alone`);
    const requests = positionals.length === 0 ? [await ownRequest()] : await Promise.all(positionals.map(readRequest));
    for (const [i, csr] of requests.entries()) {
      const certificate = await authority.issue(csr);
      const file = join(state, `device-${i + 1}.pem`);
      await writeFile(file, encodePem('CERTIFICATE', certificate));
      const options = { purpose: 'client-auth', time: new Date() } as const;
      const verdict = await validatePath(certificate, [authority.deviceCa], [authority.root], options);
      console.log(`${file}: ${verdict.ok ? 'a path to the root' : verdict.problem.message}`);
    }
    await writeFile(join(state, 'device-ca.crl'), encodePem('X509 CRL', await authority.crl(1n, [])));
    console.log(`the PAL has made ${await keys.signatures()} signatures in its life`);
  });
  console.log(`openssl verify -CAfile ${state}/root.pem -untrusted ${state}/device-ca.pem ${state}/device-1.pem`);
  return 0;
}

function parsed() {
  const options = { state: { type: 'string' }, tpm: { type: 'string' }, help: { type: 'boolean' } } as const;
  try {
    return parseArgs({ options, allowPositionals: true });
  } catch {
    return undefined;
  }
}

async function readRequest(path: string): Promise<Uint8Array> {
  return decodePem('CERTIFICATE REQUEST', await readFile(path, 'utf8'));
}

async function ownRequest(): Promise<Uint8Array> {
  return buildCsr(await generateKey('ecdsa-p256-sha256'), {
    subject: { countryName: 'DE', organizationName: 'Maker', commonName: 'edge 0001' },
    subjectAltName: { uri: ['urn:uuid:3f0c2a57-4d1b-4f3e-9a3c-0a1b2c3d4e5f'] },
  });
}
