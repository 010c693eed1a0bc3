/** TPM2_PolicyNV's twelve comparisons of every pair of telling operands: this TPM's verdict is swtpm's. */
import {
  nvDefine,
  nvUndefine,
  nvWrite,
  PolicyNv,
  startSession,
  TPM_EO,
  TPM_RC,
  Tpm,
  TpmError,
  type TpmTransport,
} from '@casemate/tpm';
import { describe, expect } from 'vitest';
import { openUtpm } from '../src/index-node.js';
import { startSwtpm } from './raw.js';
import { itWith } from './requirement.js';

const it = itWith('swtpm');
const OPERANDS = [0x0000, 0x0001, 0x00ff, 0x7fff, 0x8000, 0x8001, 0x80ff, 0xfffe, 0xffff];

describe('TPM2_PolicyNV', () => {
  it('compares every pair of operands by every operation as swtpm does', async () => {
    const theirs = await verdicts(await startSwtpm());
    const ours = await verdicts(await openUtpm({ startup: true }));
    expect(theirs.filter((line) => line.endsWith('true')).length).toBeGreaterThan(400);
    expect(ours).toEqual(theirs);
  });
});

async function verdicts(transport: TpmTransport): Promise<string[]> {
  await using tpm = new Tpm(transport);
  await using policySession = await startSession(tpm, { type: 'policy' });
  const lines: string[] = [];
  for (const a of OPERANDS) {
    const nvIndex = await nvDefine(tpm, { index: 0x01800100, size: 2 });
    await nvWrite(tpm, nvIndex, bytes(a));
    for (const b of OPERANDS) {
      for (const [name, operation] of Object.entries(TPM_EO)) {
        const request = { authHandle: nvIndex, nvIndex, policySession, operandB: bytes(b), offset: 0, operation };
        lines.push(`${a} ${name} ${b}: ${await holds(tpm.execute(PolicyNv, request))}`);
      }
    }
    await nvUndefine(tpm, nvIndex);
  }
  return lines;
}

async function holds(command: Promise<unknown>): Promise<boolean> {
  try {
    await command;
    return true;
  } catch (error) {
    if (error instanceof TpmError && error.response?.code === TPM_RC.POLICY) return false;
    throw error;
  }
}

function bytes(value: number): Uint8Array {
  return Uint8Array.of(value >> 8, value & 0xff);
}
