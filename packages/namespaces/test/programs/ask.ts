/** Run as a process of its own under another user: starts a sandbox whose system calls a callback decides about. */
import { defaultSeccompProfile, NamespaceError, startSandbox } from '../../src/index.js';

const [root = '', file = ''] = process.argv.slice(2);
const profile = defaultSeccompProfile();
try {
  const sandbox = await startSandbox({
    root: { type: 'bind', source: root },
    command: ['/calls', 'open', '/special'],
    secureBits: ['noroot', 'noroot-locked'],
    scheduling: { nice: 5 },
    landlock: {
      required: ['read-file', 'execute'],
      paths: [{ path: '/calls', allow: ['read-file', 'execute'] }],
    },
    seccomp: {
      ...profile,
      rules: [{ syscalls: ['openat'], action: { type: 'notify' } }, ...profile.rules],
      notify: async (call) =>
        (await call.readString(1)) === '/special' ? { type: 'open', path: file } : { type: 'unsafe-continue' },
    },
  });
  let all = '';
  for await (const chunk of sandbox.stdout ?? []) all += new TextDecoder().decode(chunk);
  console.log(JSON.stringify({ all, exit: await sandbox.wait() }));
} catch (error) {
  if (!(error instanceof NamespaceError)) throw error;
  console.log(JSON.stringify({ message: error.message, remedy: error.remedy }));
}
