/**
 * Step 8: the verifier, a program of its own. It has the roots and a policy, and nothing else: it prints a nonce, reads evidence, and
 * prints what it found.
 *
 * usage: node verifier.js ANCHORS.pem POLICY.json; of the two roots in ANCHORS.pem the first signs software, the second is that of devices
 */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import {
  AttestationError,
  type Check,
  parseEvidence,
  parsePolicy,
  validateEvidence,
  verdict,
  verifyEvidence,
} from '@casemate/attestation';
import { readGuestOsConfig } from '@casemate/container';
import { parsePem } from '@casemate/pki';

/** What the verifier prints at the end, as one JSON line. */
export interface VerifierReport {
  readonly trusted: boolean;
  readonly failed: readonly string[];
  readonly checks: readonly Check[];
}

const [anchorsFile, policyFile] = process.argv.slice(2);
if (anchorsFile === undefined || policyFile === undefined) {
  process.stderr.write('usage: node verifier.js ANCHORS.pem POLICY.json  (evidence on standard input)\n');
  process.exit(2);
}

// Each root for what it vouches for, and no more: who signs software can't make devices.
const [software, general] = parsePem(readFileSync(anchorsFile, 'utf8')).map(({ der }) => [der]);
if (software === undefined || general === undefined) throw new Error(`${anchorsFile}: expected two roots`);
const anchors = { attestation: general, device: general, software };
const policy = parsePolicy(readFileSync(policyFile, 'utf8'));
const nonce = new Uint8Array(randomBytes(32));
process.stdout.write(`${JSON.stringify({ nonce: Buffer.from(nonce).toString('base64') })}\n`);
process.stdout.write(`${JSON.stringify(await judge(await text(process.stdin)))}\n`);

async function judge(json: string): Promise<VerifierReport> {
  try {
    const evidence = parseEvidence(json);
    const options = { anchors, nonce, time: new Date(), readConfiguration: readGuestOsConfig };
    const { checks, claims } = await verifyEvidence(evidence, options);
    const all = [...checks, ...validateEvidence(claims, policy)];
    return { ...verdict(all), checks: all };
  } catch (error) {
    if (!(error instanceof AttestationError)) throw error;
    return { trusted: false, failed: ['quote'], checks: [{ name: 'quote', ok: false, detail: error.message }] };
  }
}
