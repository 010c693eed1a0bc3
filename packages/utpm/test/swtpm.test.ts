/** Our server where swtpm is expected: the same control messages to both, and swtpm's own tools on ours. */
import { execFile, spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { createConnection, type Socket } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from 'vitest';
import { bundle, stop } from './program.js';
import { itWith } from './requirement.js';
import { temporaryDirectory } from './temporary.js';

const run = promisify(execFile);
const directory = (): string => temporaryDirectory('swtpm');

/** A program named swtpm, and the directory that is to come first in PATH for those who start it by that name. */
async function shim(): Promise<{ readonly program: string; readonly path: string }> {
  const path = directory();
  const program = join(path, 'swtpm');
  writeFileSync(program, `#!/bin/sh\nexec ${process.execPath} ${await bundle('../src/cli.ts')} "$@"\n`);
  chmodSync(program, 0o755);
  return { program, path };
}

let ours: Awaited<ReturnType<typeof shim>>;
beforeAll(async () => {
  ours = await shim();
});

interface Running {
  readonly state: string;
  readonly control: string;
  readonly stop: () => Promise<void>;
}

async function start(program: string, args: readonly string[], state = directory()): Promise<Running> {
  const control = join(state, 'socket.ctrl');
  const all = ['socket', '--tpm2', '--tpmstate', `dir=${state}`, '--ctrl', `type=unixio,path=${control}`, ...args];
  const child = spawn(program, all, { stdio: 'ignore' });
  while (!existsSync(control)) {
    if (child.exitCode !== null) throw new Error(`${program} ended with ${child.exitCode}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return { state, control, stop: () => stop(child) };
}

function connect(path: string, until = Date.now() + 10_000): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(path);
    socket.once('connect', () => resolve(socket));
    // Its socket is there a moment before the program listens at it.
    const isEarly = (error: Error): boolean => 'code' in error && error.code === 'ECONNREFUSED' && Date.now() < until;
    socket.once('error', (error) => {
      if (isEarly(error)) setTimeout(() => connect(path, until).then(resolve, reject), 20);
      else reject(error);
    });
  });
}

/** The answer to one message: in hexadecimal, or `closed`. Whatever comes in one go is one answer, of both servers. */
async function ask(control: string, message: string): Promise<string> {
  const socket = await connect(control);
  const answer = await new Promise<string>((resolve) => {
    socket.once('data', (data: Buffer) => resolve(data.toString('hex')));
    socket.once('close', () => resolve('closed'));
    socket.write(Buffer.from(message.replaceAll(' ', ''), 'hex'));
  });
  socket.destroy();
  return answer;
}

const BOTH: readonly string[] = [
  '00000004',
  '00000004 0000',
  '00000005',
  '00000005 00',
  '00000005 02000000',
  '00000005 05',
  '00000005 04',
  '00000005 00',
  '00000006',
  '00000007 00000003 aabbcc',
  '00000008',
  '00000008',
  '00000007 00000001 00',
  '00000004',
  '0000000b',
  '0000000b 00',
  '0000000b 02',
  '0000000b 03',
  '0000000b 05',
  '00000004',
  '00000009',
  '00000009 00',
  '0000000a',
  '0000000a 00',
  '0000000f',
  '00000011 0000',
  '00000011 00000000',
  '00000011 00001000',
  '00000012',
  '00000012 0000000000000000 00000000 00000000',
  '00000012 0000000000000003 00001004 00000000',
  '00000000',
  '00000020 00',
  '00000010',
  '0000000c 00000000 00000003 00000000',
  '0000000c 00000000 00000004 00000000',
  '0000000c 00000000 00000001 00100000',
  '0000000c 00000000 00000001',
  '0000000d 00000000 00000001 00000000',
  '0000000e 00',
  '0000000e',
  // From here on the TPM is off.
  '00000004',
  '00000005 01',
  '00000006',
  '00000007 00000001 00',
  '00000008',
  '0000000b 03',
  '00000009',
  '0000000a',
  '0000000f',
  '00000011 00000000',
  '00000011 00000001',
  '00000011 00000c00',
  '00000011 00002000',
  '0000000c 00000000 00000001 00000000',
  '0000000d 00000000',
  '0000000d 00000000 00000009 00000000',
  '0000000d 00000000 00000001 00000004 00000000',
  '0000000d 00000000 00000001 0000000c 0201000a00000000000c0000',
  '0000000d 00000000 00000001 0000000c 0201000a00000000000d0000',
  '0000000d 00000000 00000001 0000000c 0303000a00000000000c0000',
  '0000000d 00000000 00000001 0000000c 0201000b00000000000c0000',
  '0000000d 00000002 00000001 0000000c 0201000a00000000000c0000',
  '0000000d 00000000 00000002 0000000c 0201000a00000000000c0000',
  '0000000d 00000000 00000003 0000000c 0201000a00000000000c0000',
  '00000002',
  '00000002 0000000000',
  '00000002 00000000',
  '00000004',
  '00000010',
  '00000003',
];

// What differs, and why; the rest of the table is the same, byte for byte.
const DIFFERENT: readonly (readonly [message: string, theirs: string, ours: string, reason: string])[] = [
  ['00000001', '000000000000ffff', '000000000001ffff', 'LOCK_STORAGE is of swtpm 0.8'],
  ['00000013 00000000', '0000000a', '00000000', 'LOCK_STORAGE is of swtpm 0.8'],
];

const itWithSwtpm = itWith('swtpm');

describe('the control channel', () => {
  itWithSwtpm('answers each message as swtpm does', async () => {
    const listen = (state: string): string[] => [
      ...['--server', `type=unixio,path=${join(state, 'socket')}`],
      ...['--flags', 'not-need-init,startup-clear'],
    ];
    const states = [directory(), directory()] as const;
    const [their, our] = [
      await start('swtpm', listen(states[0]), states[0]),
      await start(ours.program, listen(states[1]), states[1]),
    ];
    try {
      for (const [message, theirs, mine, reason] of DIFFERENT) {
        expect([await ask(their.control, message), await ask(our.control, message)], reason).toEqual([theirs, mine]);
      }
      const answers = [];
      for (const message of BOTH) {
        answers.push({ message, theirs: await ask(their.control, message), ours: await ask(our.control, message) });
      }
      expect(answers.map(({ message, ours }) => ({ message, answer: ours }))).toEqual(
        answers.map(({ message, theirs }) => ({ message, answer: theirs })),
      );
    } finally {
      await Promise.all([their.stop(), our.stop()]);
    }
  });

  itWithSwtpm(
    'tells the size of the buffer that was set as the longest command and response, as swtpm does',
    async () => {
      const states = [directory(), directory()] as const;
      const data = (state: string): string[] => ['--server', `type=unixio,path=${join(state, 'socket')}`];
      const both = [
        await start('swtpm', data(states[0]), states[0]),
        await start(ours.program, data(states[1]), states[1]),
      ];
      const sizes = '8001 00000016 0000017a 00000006 0000011e 00000002';
      try {
        const told = [];
        for (const { control, state } of both) {
          const answers = [];
          for (const message of ['00000011 00000fa0', '00000002 00000000', '00000011 00001000', '00000011 00000000']) {
            answers.push(await ask(control, message));
          }
          for (const command of [
            '8001 0000000c 00000144 0000',
            sizes,
            `8001 00000fa1 0000017b ${'00'.repeat(4001 - 10)}`,
          ]) {
            answers.push(await ask(join(state, 'socket'), command));
          }
          told.push(answers);
        }
        expect(told[1]).toEqual(told[0]);
        expect(told[1]?.[5]).toBe('800100000023000000000100000006000000020000011e00000fa00000011f00000fa0');
      } finally {
        await Promise.all(both.map((running) => running.stop()));
      }
    },
  );

  itWithSwtpm(
    'keeps TPM_ESTABLISHED over INIT, and over a restart where the volatile state was stored, as swtpm does',
    async () => {
      const told = [];
      for (const program of ['swtpm', ours.program]) {
        const state = directory();
        const args = [
          '--server',
          `type=unixio,path=${join(state, 'socket')}`,
          '--flags',
          'not-need-init,startup-clear',
        ];
        const answers = [];
        const first = await start(program, args, state);
        const launch = ['00000004', '00000006', '00000007 00000001 aa', '00000008', '00000004'];
        const again = ['00000002 00000000', '00000004', '0000000a', '00000003'];
        for (const message of [...launch, ...again]) answers.push(await ask(first.control, message));
        await first.stop();
        // With the volatile state.
        const second = await start(program, args.slice(0, 2), state);
        const reset = ['0000000b 03', '00000004', '0000000a', '00000002 00000001', '00000004', '00000003'];
        for (const message of ['00000002 00000000', '00000004', ...reset])
          answers.push(await ask(second.control, message));
        await second.stop();
        // Without it: what was not stored is gone.
        const third = await start(program, args, state);
        for (const message of [...launch, '00000003']) answers.push(await ask(third.control, message));
        await third.stop();
        const fourth = await start(program, args, state);
        for (const message of ['00000004', '00000003']) answers.push(await ask(fourth.control, message));
        await fourth.stop();
        told.push(answers);
      }
      expect(told[1]).toEqual(told[0]);
      expect(told[1]?.filter((answer) => answer === '0000000001000000').length).toBeGreaterThan(3);
    },
  );

  itWithSwtpm('tells what the TPM is in the JSON form of swtpm', async () => {
    const [their, our] = [await start('swtpm', []), await start(ours.program, [])];
    try {
      const shapes = [];
      for (const { control } of [their, our]) {
        const answer = Buffer.from(await ask(control, '00000012 0000000000000003 00000000 00000000'), 'hex');
        expect(answer.readUInt32BE(4)).toBe(answer.length - 12);
        const info = JSON.parse(answer.subarray(12, -1).toString());
        shapes.push(JSON.stringify(info).replaceAll(/:"[^"]*"|:\d+/g, ''));
        expect(info.TPMAttributes.manufacturer).toMatch(/^id:[0-9A-F]{8}$/);
      }
      expect(shapes[1]).toBe(shapes[0]);
    } finally {
      await Promise.all([their.stop(), our.stop()]);
    }
  });
});

describe('swtpm_ioctl', () => {
  const itWithIoctl = itWith('swtpm_ioctl', 'tpm2_pcrextend');

  itWithIoctl('moves a TPM by its state blobs, and refuses damaged ones', async () => {
    const data = (state: string): string[] => ['--server', `type=unixio,path=${join(state, 'socket')}`];
    const states = [directory(), directory(), directory()] as const;
    const first = await start(ours.program, data(states[0]), states[0]);
    const ioctl = (running: Running, ...args: string[]): Promise<{ stdout: string }> =>
      run('swtpm_ioctl', ['--unix', running.control, ...args]);
    const env = (state: string): object => ({
      env: { ...process.env, TPM2TOOLS_TCTI: `swtpm:path=${join(state, 'socket')}` },
    });
    const pcr = async (state: string): Promise<string> => (await run('tpm2_pcrread', ['sha256:16'], env(state))).stdout;
    try {
      await ioctl(first, '-i');
      await run('tpm2_startup', ['-c'], env(states[0]));
      await run('tpm2_pcrextend', [`16:sha256=${'11'.repeat(32)}`], env(states[0]));
      const before = await pcr(states[0]);
      const [permanent, volatile] = [join(states[0], 'p'), join(states[0], 'v')];
      await ioctl(first, '--save', 'permanent', permanent);
      await ioctl(first, '--save', 'volatile', volatile);
      const second = await start(ours.program, data(states[1]), states[1]);
      try {
        await ioctl(second, '--load', 'permanent', permanent);
        await ioctl(second, '--load', 'volatile', volatile);
        await ioctl(second, '-i');
        expect(await pcr(states[1])).toBe(before);
        expect(before).toContain('16: 0x');
      } finally {
        await second.stop();
      }
      // The volatile half without its permanent half is refused at INIT.
      const third = await start(ours.program, data(states[2]), states[2]);
      try {
        await ioctl(third, '--load', 'volatile', volatile);
        await expect(ioctl(third, '-i')).rejects.toThrow('0x9');
      } finally {
        await third.stop();
      }
    } finally {
      await first.stop();
    }
  });

  itWithIoctl('moves an encrypted TPM to who has the key only', async () => {
    const key = join(directory(), 'key');
    writeFileSync(key, '0123456789abcdef'.repeat(4));
    const withKey = ['--migration-key', `file=${key},mode=aes-256-cbc`];
    const file = join(directory(), 'permanent');
    const first = await start(ours.program, withKey);
    const save = ['--unix', first.control, '--save', 'permanent', file];
    await run('swtpm_ioctl', ['--unix', first.control, '-i']);
    await run('swtpm_ioctl', save);
    await first.stop();
    const results = [];
    for (const args of [withKey, []]) {
      const other = await start(ours.program, args);
      const load = run('swtpm_ioctl', ['--unix', other.control, '--load', 'permanent', file]);
      results.push(
        await load.then(
          () => 'taken',
          (error: Error) => /0x\w+/.exec(error.message)?.[0],
        ),
      );
      await other.stop();
    }
    // TPM_KEYNOTFOUND
    expect(results).toEqual(['taken', '0xd']);
  });
});

describe('swtpm_setup', () => {
  const itWithSetup = itWith('swtpm_setup', 'swtpm_localca', 'tpm2_nvread', 'openssl');

  itWithSetup('manufactures our TPM, with certificates of its endorsement keys', async () => {
    const home = directory();
    const [ca, state] = [join(home, 'ca'), join(home, 'state')];
    for (const path of [ca, state]) mkdirSync(path);
    const config = join(home, 'localca.conf');
    writeFileSync(
      config,
      `statedir = ${ca}\nsigningkey = ${ca}/key.pem\nissuercert = ${ca}/issuer.pem\ncertserial = ${ca}/serial\n`,
    );
    const options = join(home, 'localca.options');
    writeFileSync(options, '--platform-manufacturer Casemate\n--platform-version 1\n--platform-model uTPM\n');
    const setup = join(home, 'setup.conf');
    writeFileSync(
      setup,
      `create_certs_tool = /usr/bin/swtpm_localca\ncreate_certs_tool_config = ${config}\ncreate_certs_tool_options = ${options}\n`,
    );
    const what = ['--create-ek-cert', '--create-platform-cert', '--lock-nvram', '--pcr-banks', 'sha256'];
    const where = ['--tpm-state', state, '--config', setup, '--logfile', join(home, 'log')];
    await run('swtpm_setup', ['--tpm2', '--tpm', `${ours.program} socket`, ...what, ...where]);

    const data = join(state, 'socket');
    const args = ['--server', `type=unixio,path=${data}`, '--flags', 'startup-clear'];
    const server = await start(ours.program, args, state);
    try {
      const env = { ...process.env, TPM2TOOLS_TCTI: `swtpm:path=${data}` };
      const chain = ['-CAfile', join(ca, 'swtpm-localca-rootca-cert.pem'), '-untrusted', join(ca, 'issuer.pem')];
      for (const index of ['0x1c00002', '0x1c00016']) {
        const certificate = join(home, `${index}.der`);
        await run('tpm2_nvread', ['-o', certificate, index], { env });
        const verified = await run('openssl', ['verify', '-ignore_critical', ...chain, certificate]).catch(String);
        expect(verified).toMatchObject({ stdout: `${certificate}: OK\n` });
      }
      const { stdout } = await run('tpm2_getcap', ['pcrs'], { env });
      expect(stdout).toMatch(/sha256: \[ 0, 1,/);
      expect(stdout).toMatch(/sha1: \[ \]/);
    } finally {
      await server.stop();
    }
  });
});

describe('what starts swtpm by its name', () => {
  it('finds ours, where it comes first in PATH', async () => {
    const { stdout } = await run('swtpm', ['socket', '--tpm2', '--print-capabilities'], {
      env: { ...process.env, PATH: `${ours.path}:${process.env.PATH}` },
    });
    const { type, features } = JSON.parse(stdout);
    expect(type).toBe('swtpm');
    expect(features).toContain('tpm-2.0');
  });
});
