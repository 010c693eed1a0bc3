/** The device's side of step 8: it starts the verifier, answers its nonce with evidence, and takes its verdict. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { type Evidence, encodeEvidence } from '@casemate/attestation';
import type { VerifierReport } from './verifier.js';

/** A verifier that has asked its question. */
export interface Challenge {
  /** Its nonce. */
  readonly nonce: Uint8Array;
  /** Hands over the evidence and resolves to what it found. */
  answer(evidence: Evidence): Promise<VerifierReport>;
}

/** Starts the verifier, a process of its own with the roots and the policy, and waits for its nonce. */
export async function startVerifier(anchors: string, policy: string): Promise<Challenge> {
  const program = fileURLToPath(new URL('verifier.js', import.meta.url));
  const child = spawn(process.execPath, [program, anchors, policy], { stdio: ['pipe', 'pipe', 'inherit'], env: {} });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async (): Promise<unknown> => {
    const { value, done } = await lines.next();
    if (done) throw new Error('the verifier ended without an answer');
    return JSON.parse(value);
  };
  const { nonce } = (await next()) as { nonce: string }; // our own program's first line
  return {
    nonce: new Uint8Array(Buffer.from(nonce, 'base64')),
    async answer(evidence) {
      child.stdin.end(encodeEvidence(evidence));
      return (await next()) as VerifierReport; // our own program's second line
    },
  };
}
