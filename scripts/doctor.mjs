// `npm run doctor`: what this machine offers, what is missing, what that costs, and how to get it. It changes nothing on the system.
import { accessSync, constants, existsSync } from 'node:fs';
import { release } from 'node:os';
import { join } from 'node:path';
import { readArguments } from './arguments.mjs';
import { buildTools, root, setup, testTools } from './setup.mjs';

readArguments(`usage: npm run doctor

Tells what this machine offers, what is missing, what that costs, and how to get it. It changes nothing on the system.
`);

const features = {
  'time namespaces': { cost: 'containers share the clock offsets of the host' },
  overlay: { title: 'overlay mounts', cost: 'changes of a container are not kept in a directory' },
  overlayMemory: { title: 'overlay mounts in memory', cost: 'changes of a container are kept in a directory' },
  proc: { title: 'a /proc of its own' },
  mountApi: { title: 'mounts by descriptor, id-mapped mounts' },
  landlock: { title: 'Landlock', cost: 'nothing yet: no rule uses it' },
  subordinateIds: { title: 'subordinate ids', cost: 'an ordinary user has one id inside a container' },
  cgroups: { title: 'cgroup limits', cost: 'memory, processes and CPU of a container are not limited' },
};

const rows = [
  node(),
  tpm(),
  kvm(),
  ...tools('build and demo', buildTools),
  ...tools('tests', testTools),
  ...(await kernel()),
];

const user = process.getuid?.() === 0 ? 'root' : `user ${process.getuid?.()}`;
console.log(`Linux ${release()}, Node ${process.versions.node}, ${user}\n`);
for (const { ok, name, found, cost, remedy } of rows) {
  console.log(`${ok ? '  ok     ' : '  MISSING'}  ${name.padEnd(44)}  ${found}`);
  if (ok) continue;
  if (cost) console.log(`${' '.repeat(11)}without it: ${cost}`);
  if (remedy) console.log(`${' '.repeat(11)}to get it:  ${remedy}`);
}
const missing = rows.filter((row) => !row.ok).length;
console.log(missing === 0 ? '\nNothing is missing.' : `\n${missing} missing; what does not need them works.`);

function node() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  return {
    ok: major > 20 || (major === 20 && minor >= 19),
    name: 'Node 20.19 or later',
    found: process.versions.node,
    cost: 'nothing here runs',
    remedy: 'install a current Node LTS',
  };
}

function tpm() {
  const device = ['/dev/tpmrm0', '/dev/tpm0'].find((path) => existsSync(path));
  return {
    ok: device !== undefined && canOpen(device),
    name: 'TPM device',
    found: device === undefined ? 'no /dev/tpmrm0' : canOpen(device) ? device : `${device}, but not for this user`,
    cost: 'the embedded software TPM is used; its secrets lie in files of this user',
    remedy:
      device === undefined
        ? 'enable the TPM in the firmware, or give a virtual machine one (QEMU: -tpmdev emulator)'
        : 'add the user to the group of the device, usually tss',
  };
}

function kvm() {
  const there = existsSync('/dev/kvm');
  return {
    ok: there && canOpen('/dev/kvm'),
    name: 'KVM',
    found: !there ? 'no /dev/kvm' : canOpen('/dev/kvm') ? '/dev/kvm' : '/dev/kvm, but not for this user',
    cost: 'PALs run on the wasm engine, a process of their own, not in a virtual machine',
    remedy: there
      ? 'add the user to the group kvm'
      : 'enable virtualisation in the firmware, or nested virtualisation on the host',
  };
}

function tools(purpose, wanted) {
  return wanted.map((tool) => ({
    ok: tool.found(),
    name: tool.what,
    found: tool.found() ? `for ${purpose}` : 'not installed',
    cost: `needed by ${purpose}`,
    remedy: `apt-get install ${tool.debian.join(' ')}`,
  }));
}

async function kernel() {
  const entry = join(root, 'packages/namespaces/dist/index.js');
  try {
    if (!existsSync(entry)) await setup({ tools: [] });
    const { probe } = await import(entry);
    const { namespaces, ...rest } = await probe();
    const kinds = Object.entries(namespaces).map(([kind, feature]) => [`${kind} namespaces`, feature]);
    return [...kinds, ...Object.entries(rest)].map(([name, { available, reason, remedy }]) => {
      const { title = name, cost = 'containers do not start' } = features[name] ?? {};
      return { ok: available, name: title, found: reason, cost, remedy };
    });
  } catch (error) {
    return [
      {
        ok: false,
        name: 'namespaces, cgroups, seccomp, Landlock',
        found: `could not be probed: ${String(error.message).split('\n')[0]}`,
        remedy: 'install what the build needs (above), then run this again',
      },
    ];
  }
}

function canOpen(path) {
  try {
    accessSync(path, constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
