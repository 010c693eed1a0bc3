import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { postgresMissing } from './postgres.js';

const script = fileURLToPath(new URL('../../../scripts/rollout.mjs', import.meta.url));

/** The same program that rolls out ten thousand devices, with fewer; it fails where a serial number or a device is wrong. */
async function rollOut(...args: readonly string[]): Promise<Record<string, unknown>> {
  const { stdout } = await promisify(execFile)(process.execPath, [script, '--json', ...args]);
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '');
}

describe('a roll-out', () => {
  it('of 50 devices survives two kills of its only service', { timeout: 180_000 }, async () => {
    const result = await rollOut('--devices', '50', '--kills', '2');
    expect(result).toMatchObject({ devices: 50, killed: 2 });
    expect(Number(result.certificates)).toBeGreaterThanOrEqual(100);
    expect(result.auditEntries).toBe(result.certificates);
  });

  const missing = postgresMissing();
  it.skipIf(missing !== undefined)(
    `of 50 devices survives two kills of two services on one PostgreSQL${missing === undefined ? '' : ` (skipped: ${missing})`}`,
    { timeout: 180_000 },
    async () => {
      const result = await rollOut('--devices', '50', '--kills', '2', '--store', 'postgres', '--processes', '2');
      expect(result).toMatchObject({ devices: 50, killed: 2, processes: 2 });
      expect(result.auditEntries).toBe(result.certificates);
    },
  );
});
