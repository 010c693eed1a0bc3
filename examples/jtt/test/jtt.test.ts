/** The subcommands against swtpm, with TrustVisor's documented command lines, and tpm_nvinfo as the judge of the result. */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectSwtpm } from '@casemate/tpm/swtpm';
import { readHandles, readNvPublic, TPM_RT, Tpm12 } from '@casemate/tpm/tpm12';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { run } from '../src/run.js';
import { hasPrograms, isRoot, nvInfo, type Simulator, startSimulator } from './simulator.js';

const mustRun = process.env.MUST_RUN === '1';
const describeWithSwtpm = hasPrograms('swtpm') || mustRun ? describe : describe.skip;
const itWithTools = (hasPrograms('tcsd', 'tpm_nvinfo') && isRoot) || mustRun ? it : it.skip;

describe('the command line', () => {
  it('lists the subcommands, and the options of each', async () => {
    expect((await jtt(['--help'])).lines.join('\n')).toMatch(/take_owner .*\n[\s\S]*nv_definespace/);
    const { code, lines } = await jtt(['nv_definespace', '--help']);
    expect(code).toBe(0);
    for (const option of [
      '--index',
      '--size',
      '-o',
      '-e',
      '-p',
      '-w',
      '--permission',
      '--writelocality',
      '--readlocality',
    ]) {
      expect(lines.join('\n')).toContain(option);
    }
  });

  it('says what it does not understand', async () => {
    expect(await jtt(['fly'])).toMatchObject({
      code: 2,
      complaints: ['jtt: "fly" is no subcommand; jtt --help lists them'],
    });
    expect(await jtt(['take_owner', '--wings'])).toMatchObject({ code: 2 });
    const where = await jtt(['tpm_version', '--tpm', 'moon:1']);
    expect(where.complaints[0]).toContain('--tpm: expected device:/dev/tpm0');
  });
});

describeWithSwtpm('jtt (needs swtpm)', () => {
  let simulator: Simulator;
  let directory: string;
  const file = (name: string) => join(directory, name);
  const tpm = (...args: string[]) => jtt([...args, '--tpm', `swtpm:path=${simulator.path}`]);
  const succeed = async (...args: string[]): Promise<readonly string[]> => {
    const { code, lines, complaints } = await tpm(...args);
    expect({ args, code, complaints }).toEqual({ args, code: 0, complaints: [] });
    return lines;
  };

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'casemate-jtt-'));
    simulator = await startSimulator();
    for (const name of ['tpm_startup', 'tpm_enable', 'create_ek', 'nv_lock']) await succeed(name);
    await succeed('take_owner', '-e', 'ASCII', '-o', 'owner_password');
  });
  afterAll(async () => {
    await simulator.stop();
    rmSync(directory, { recursive: true, force: true });
  });

  const spaces = [
    ['0x00015213', '20'],
    ['0x00014e56', '32'],
  ] as const;
  const common = ['-o', 'owner_password', '-e', 'ASCII', '-p', '11,12', '-w', '--permission', '0x00000000'];
  const localities = ['--writelocality', '2', '--readlocality', '2'];

  it.each(spaces)('defines TrustVisor’s index %s as its documentation says', async (index, size) => {
    const lines = await succeed('nv_definespace', '--index', index, '--size', size, ...common, ...localities);
    expect(lines).toEqual([
      'defining NV space to depend on pcr: 11',
      'defining NV space to depend on pcr: 12',
      `defined ${index}`,
    ]);
    await using client = new Tpm12(await connectSwtpm({ path: simulator.path }));
    const area = await readNvPublic(client, Number(index));
    // What TrustVisor checks before it trusts an index: exact size, locality 2 alone, PCRs 11 and 12, for both directions.
    const binding = { pcrSelection: Uint8Array.of(0, 0x18, 0), localityAtRelease: 1 << 2 };
    expect(area).toMatchObject({ dataSize: Number(size), permission: { attributes: 0 } });
    expect(area.pcrInfoRead).toMatchObject(binding);
    expect(area.pcrInfoWrite).toMatchObject(binding);
  });

  it('refuses to define an index twice', async () => {
    const again = await tpm('nv_definespace', '--index', '0x00015213', '--size', '20', ...common, ...localities);
    expect(again).toMatchObject({ code: 2, complaints: ['jtt: index 0x00015213 is already defined'] });
  });

  itWithTools('shows tpm_nvinfo the attributes of both indexes', async () => {
    const printed = await nvInfo(simulator);
    for (const [index, size] of spaces) {
      const part = printed.slice(printed.indexOf(`NVRAM index   : ${index}`)).split('\n\n')[0] ?? '';
      expect(part).toMatch(/PCR read {2}selection:\n PCRs\s+: 11, 12\n Localities\s+: 0x4\n/);
      expect(part).toMatch(/PCR write selection:\n PCRs\s+: 11, 12\n Localities\s+: 0x4\n/);
      expect(part).toMatch(new RegExp(`Permissions\\s+: 0x00000000 \\(\\)[\\s\\S]*Size\\s+: ${size} `));
    }
  });

  it('writes and reads them from locality 2 alone, as TrustVisor does', async () => {
    const secret = randomBytes(20).toString('hex');
    const refused = await tpm('nv_write', '--index', '0x15213', '--data', secret);
    expect(refused).toMatchObject({ code: 1, complaints: [expect.stringContaining('TPM_BAD_LOCALITY')] });
    await succeed('nv_write', '--index', '0x15213', '--data', secret, '--locality', '2');
    expect(await succeed('nv_read', '--index', '0x15213', '--locality', '2')).toEqual([secret]);
    expect(await tpm('nv_read', '--index', '0x15213')).toMatchObject({ code: 1 });
    expect((await succeed('nv_list')).join('\n')).toContain('0x00015213: 20 bytes, permission 0x00000000');
    await succeed('nv_releasespace', '--index', '0x00014e56', '-o', 'owner_password', '-e', 'ASCII');
    expect((await succeed('nv_list')).join('\n')).not.toContain('0x00014e56');
  });

  it('keeps an index with a password of its own', async () => {
    const owner = ['-o', 'owner_password', '-e', 'ASCII'];
    const permission = ['--permission', 'AUTHREAD|AUTHWRITE', '-a', 'area'];
    await succeed('nv_definespace', '--index', '0x1600', '--size', '4', ...owner, ...permission);
    await succeed('nv_write', '--index', '0x1600', '--data', '01020304', '-a', 'area', '-e', 'ASCII');
    expect(await succeed('nv_read', '--index', '0x1600', '-a', 'area', '-e', 'ASCII', '--offset', '2')).toEqual([
      '0304',
    ]);
    expect(await tpm('nv_read', '--index', '0x1600', '-a', 'guess')).toMatchObject({ code: 1 });
    await succeed('reset_lock', ...owner);
  });

  it('reads, extends and resets PCRs', async () => {
    const [value] = await succeed('pcr_extend', '-p', '16', '-d', 'text');
    expect(await succeed('pcr_read', '-p', '16')).toEqual([`PCR 16: ${value}`]);
    await succeed('pcr_reset', '-p', '16');
    expect(await succeed('pcr_read', '-p', '16')).toEqual([`PCR 16: ${'00'.repeat(20)}`]);
    expect(await succeed('pcr_read')).toHaveLength(24);
  });

  it('creates an identity key and quotes with it, and catches a quote for another nonce', async () => {
    const names = ['-a', 'aik secret', '-l', 'laptop', '-o', 'owner_password', '-e', 'ASCII'];
    await succeed('aik_create', ...names, '-f', file('laptop.aik'));
    const nonce = randomBytes(20).toString('hex');
    const key = ['-k', file('laptop.aik')];
    for (const kind of ['quote', 'quote2']) {
      const wanted = ['-a', 'aik secret', '-e', 'ASCII', '-p', '0,17', '-n', nonce, '-f', file(kind)];
      await succeed(kind, ...key, ...wanted);
      const verified = await jtt(['verify', ...key, '-n', nonce, '-f', file(kind)]);
      expect(verified).toMatchObject({ code: 0, complaints: [] });
      expect(verified.lines).toContain(`PCR 17: ${'ff'.repeat(20)}`);
      expect(await jtt(['verify', ...key, '-n', '00'.repeat(20), '-f', file(kind)])).toMatchObject({ code: 2 });
    }
  });

  it('binds and unbinds, seals and unseals', async () => {
    const data = randomBytes(150);
    writeFileSync(file('plain'), data);
    await succeed('create_key', '-t', 'binding', '-a', 'key', '-f', file('bind.key'));
    expect((await jtt(['bind', '-k', file('bind.key'), '-i', file('plain'), '-O', file('bound')])).code).toBe(0);
    await succeed('unbind', '-k', file('bind.key'), '-a', 'key', '-i', file('bound'), '-O', file('unbound'));
    expect(readFileSync(file('unbound')).equals(data)).toBe(true);
    await succeed('seal', '-p', '16', '-i', file('plain'), '-O', file('sealed'));
    await succeed('unseal', '-i', file('sealed'), '-O', file('unsealed'));
    expect(readFileSync(file('unsealed')).equals(data)).toBe(true);
    await succeed('pcr_extend', '-p', '16', '-d', 'changed');
    const late = await tpm('unseal', '-i', file('sealed'), '-O', file('late'));
    expect(late).toMatchObject({ code: 1, complaints: [expect.stringContaining('TPM_WRONGPCRVAL')] });
  });

  it('tells version, flags and random numbers, and tests the TPM', async () => {
    expect((await succeed('tpm_version'))[0]).toContain('1.2.');
    expect((await succeed('tpm_info'))[0]).toBe('owner        : yes');
    expect(await succeed('tpm_flags')).toContain('nvLocked: true');
    expect((await succeed('random', '--size', '40', '--stir', 'x'))[0]).toMatch(/^[0-9a-f]{80}$/);
    expect(await succeed('self_test')).toEqual(['passed']);
    expect((await succeed('pubek_read', '-o', 'owner_password', '-e', 'ASCII'))[0]).toMatch(/^[0-9a-f]{512}$/);
  });

  it('changes the password of the owner, and ends ownership', async () => {
    await succeed('change_owner', '-o', 'owner_password', '-n', 'new', '-e', 'ASCII');
    expect(await tpm('clear_owner', '-o', 'owner_password', '-e', 'ASCII')).toMatchObject({ code: 1 });
    await using client = new Tpm12(await connectSwtpm({ path: simulator.path }));
    expect(await readHandles(client, TPM_RT.KEY)).toEqual([]);
    await client.close();
    await succeed('clear_owner', '-o', 'new', '-e', 'ASCII');
    expect((await succeed('tpm_flags')).join()).toContain('disable: true');
  });
});

async function jtt(args: readonly string[]) {
  const lines: string[] = [];
  const complaints: string[] = [];
  const print = (text: string) => lines.push(...text.split('\n'));
  const code = await run(args, { print, complain: (line) => complaints.push(line) });
  return { code, lines, complaints };
}
