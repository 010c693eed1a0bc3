/** A virtual machine with a TPM: QEMU without acceleration, Debian's kernel, and an initramfs that shows what the guest sees. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const KERNEL_PLACES = [join(import.meta.dirname, '../../../.casemate/kernel/boot'), '/boot'];
const OVMF = '/usr/share/OVMF';

/** The guest kernel, or undefined: `npm run setup` of the tests fetches one. */
export function guestKernel(): string | undefined {
  const places = KERNEL_PLACES.filter((place) => existsSync(place));
  const kernels = places.flatMap((place) => readdirSync(place).map((file) => join(place, file)));
  return kernels.find((file) => /\/vmlinuz-.*-amd64$/.test(file));
}

/** Is UEFI firmware for guests there? */
export function hasOvmf(): boolean {
  return existsSync(join(OVMF, 'OVMF_CODE_4M.fd'));
}

// It answers each line on the serial console: with the registers as the kernel reads them, the firmware's event log, or by powering off.
const INIT = `#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev; mount -t securityfs sec /sys/kernel/security
echo "driver $(basename $(readlink /sys/class/tpm/tpm0/device/driver))"
while read line; do
  case $line in
  pcrs) for bank in sha1 sha256 sha384 sha512; do for i in $(seq 0 23); do
    echo "pcr $bank $i $(cat /sys/class/tpm/tpm0/pcr-$bank/$i)"; done; done; echo "end of pcrs" ;;
  log) echo "start of log"; gzip -c /sys/kernel/security/tpm0/binary_bios_measurements | base64; echo "end of log" ;;
  off) poweroff -f ;;
  esac
done
`;

/** Packs the initramfs; returns its path. */
export function buildInitramfs(): string {
  const root = mkdtempSync(join(tmpdir(), 'utpm-initramfs-'));
  try {
    for (const directory of ['bin', 'proc', 'sys', 'dev']) mkdirSync(join(root, directory));
    copyFileSync(execFileSync('which', ['busybox'], { encoding: 'utf8' }).trim(), join(root, 'bin/busybox'));
    writeFileSync(join(root, 'init'), INIT);
    for (const file of ['bin/busybox', 'init']) chmodSync(join(root, file), 0o755);
    const file = `${root}.cpio`;
    execFileSync('sh', ['-c', `find . | busybox cpio -o -H newc > ${file}`], { cwd: root, stdio: 'ignore' });
    return file;
  } finally {
    rmSync(root, { recursive: true });
  }
}

/** What a machine is made of. */
export interface MachineOptions {
  /** The control channel of the TPM's server, a Unix socket. */
  readonly control: string;
  readonly kernel: string;
  readonly initramfs: string;
  readonly firmware?: 'seabios' | 'ovmf';
  readonly device?: 'tpm-tis' | 'tpm-crb';
  /** Go on from what another machine wrote to this file. */
  readonly incoming?: string;
}

/** A running machine. */
export class Machine implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #directory: string;
  readonly #monitor: string;
  #output = '';
  #errors = '';
  #wake: () => void = () => undefined;
  #hasEnded = false;

  constructor(options: MachineOptions) {
    this.#directory = mkdtempSync(join(tmpdir(), 'utpm-machine-'));
    this.#monitor = join(this.#directory, 'monitor');
    this.#child = spawn('qemu-system-x86_64', argumentsOf(options, this.#directory, this.#monitor));
    this.#child.stdout?.on('data', (data: Buffer) => {
      this.#output += data.toString('latin1').replaceAll('\r', '');
      this.#wake();
    });
    this.#child.stderr?.on('data', (data: Buffer) => {
      this.#errors += data.toString('latin1');
    });
    this.#child.once('exit', () => {
      this.#hasEnded = true;
      this.#wake();
    });
  }

  /** Sends a line to the guest and returns what it prints until `end`. */
  async ask(line: string, end: RegExp): Promise<string> {
    this.#output = '';
    this.#child.stdin?.write(`${line}\n`);
    return this.until(end);
  }

  /** What the guest prints until `end`. */
  async until(end: RegExp): Promise<string> {
    while (!end.test(this.#output)) {
      if (this.#hasEnded) throw new Error(`the machine ended: ${this.#errors}\n${this.#output.slice(-2000)}`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.#output;
  }

  /** All PCRs as the guest's kernel reads them: `sha256 4 ABCD…`, one a line. */
  async pcrs(): Promise<readonly string[]> {
    const text = await this.ask('pcrs', /end of pcrs/);
    return [...text.matchAll(/^pcr (\w+ \d+ [0-9A-F]+)$/gm)].map(([, line = '']) => line);
  }

  /** The firmware's event log. */
  async eventLog(): Promise<Uint8Array> {
    const text = await this.ask('log', /end of log/);
    const base64 = /start of log\n([\s\S]*)\nend of log/.exec(text)?.[1] ?? '';
    return new Uint8Array(execFileSync('gzip', ['-dc'], { input: Buffer.from(base64, 'base64') }));
  }

  /** Powers off, and waits for the end of the machine. */
  async powerOff(): Promise<void> {
    this.#child.stdin?.write('off\n');
    await this.#ended();
  }

  /** Waits until a machine that was written to a file runs again; what is said to it before that is lost. */
  async arrived(): Promise<void> {
    while (!existsSync(this.#monitor) || !(await this.#command('info status')).includes('VM status: running')) {
      if (this.#hasEnded) throw new Error(`the machine ended: ${this.#errors}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  /** Stops the guest and writes the machine, its TPM with it, to a file; the machine ends. */
  async migrate(file: string): Promise<void> {
    await this.#command(`migrate "exec:cat > ${file}"`);
    const status = await this.#command('info migrate');
    if (!status.includes('Migration status: completed')) throw new Error(`the machine was not written: ${status}`);
    await this.#command('quit');
    await this.#ended();
  }

  /** Runs a command of QEMU's monitor. */
  async #command(text: string): Promise<string> {
    const monitor = createConnection(this.#monitor);
    return new Promise((resolve) => {
      let seen = '';
      let prompts = 0;
      monitor.on('data', (data: Buffer) => {
        seen += data.toString('latin1');
        if (!seen.endsWith('(qemu) ')) return;
        prompts++;
        if (prompts === 1) monitor.write(`${text}\n`);
        else monitor.end();
        if (prompts === 1) seen = '';
      });
      monitor.on('error', () => undefined);
      monitor.on('close', () => resolve(seen));
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#hasEnded) this.#child.kill('SIGKILL');
    await this.#ended();
    rmSync(this.#directory, { recursive: true });
  }

  async #ended(): Promise<void> {
    if (!this.#hasEnded) await new Promise((resolve) => this.#child.once('exit', resolve));
  }
}

function argumentsOf(options: MachineOptions, directory: string, monitor: string): string[] {
  const { control, kernel, initramfs, firmware = 'seabios', device = 'tpm-tis', incoming } = options;
  return [
    ...['-M', 'q35', '-accel', 'tcg', '-cpu', 'max', '-m', '256', '-display', 'none', '-no-reboot', '-nic', 'none'],
    ...['-serial', 'stdio', '-monitor', `unix:${monitor},server=on,wait=off`],
    ...(firmware === 'ovmf' ? ovmfArguments(directory) : []),
    ...['-kernel', kernel, '-initrd', initramfs, '-append', 'console=ttyS0 quiet panic=-1'],
    ...['-chardev', `socket,id=tpm,path=${control}`, '-tpmdev', 'emulator,id=tpm0,chardev=tpm'],
    ...['-device', `${device},tpmdev=tpm0`],
    ...(incoming === undefined ? [] : ['-incoming', `exec:cat ${incoming}`]),
  ];
}

function ovmfArguments(directory: string): string[] {
  const variables = join(directory, 'variables.fd');
  copyFileSync(join(OVMF, 'OVMF_VARS_4M.fd'), variables);
  const flash = 'if=pflash,format=raw';
  const code = join(OVMF, 'OVMF_CODE_4M.fd');
  return ['-drive', `${flash},readonly=on,file=${code}`, '-drive', `${flash},file=${variables}`];
}
