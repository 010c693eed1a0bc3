/** The default root filesystem: busybox and an init that shows where it runs. */

import { existsSync } from 'node:fs';
import { copyFile, mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

const applets = [
  'sh',
  'cat',
  'echo',
  'hostname',
  'id',
  'ls',
  'mount',
  'ps',
  'sleep',
  'true',
  'uname',
  'wc',
  'grep',
  'sed',
];

const init = `#!/bin/sh
echo "hello from $(hostname), pid $$, $(id -u):$(id -g)"
echo "processes here: $(ls -d /proc/[0-9]* | wc -l), interfaces: $(ls /sys/class/net | wc -l)"
grep -E '^(CapEff|NoNewPrivs|Seccomp):' /proc/self/status
touch /write-test 2>/dev/null && echo "root is an overlay: writes stay here"
`;

/** Makes the root filesystem below `directory`, which must not exist. Throws where there is no static busybox. */
export async function makeBusyboxRoot(directory: string): Promise<void> {
  const busybox = ['/bin/busybox', '/usr/bin/busybox'].find((path) => existsSync(path));
  if (busybox === undefined)
    throw new Error('no busybox on this machine: apt-get install busybox-static, or give --rootfs');
  for (const dir of ['bin', 'dev', 'etc', 'proc', 'root', 'run', 'sys', 'tmp', 'var']) {
    await mkdir(join(directory, dir), { recursive: true });
  }
  await copyFile(busybox, join(directory, 'bin', 'busybox'));
  for (const applet of [...applets, 'touch']) await symlink('busybox', join(directory, 'bin', applet));
  await writeFile(join(directory, 'init'), init, { mode: 0o755 });
  await writeFile(join(directory, 'etc', 'passwd'), 'root:x:0:0:root:/root:/bin/sh\n');
  await writeFile(join(directory, 'etc', 'group'), 'root:x:0:\n');
  await writeFile(join(directory, 'etc', 'os-release'), 'ID=edge\nNAME="Casemate edge demo"\nVERSION_ID=1\n');
}
