/** `@casemate/utpm`, in process and over TCP, beside swtpm over TCP: the usual operations of a TPM, one command in flight. */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  akTemplate,
  createKey,
  createPrimary,
  extendPcr,
  FlushContext,
  GetRandom,
  loadKey,
  nvDefine,
  nvRead,
  nvWrite,
  quote,
  readPcrs,
  seal,
  signingKeyTemplate,
  srkTemplate,
  Tpm,
  type TpmTransport,
  tpmSigner,
  unseal,
} from '@casemate/tpm';
import { nodeCrypto } from '@casemate/tpm/node-crypto';
import { connectSwtpm } from '@casemate/tpm/swtpm';
import { openUtpm } from '@casemate/utpm';
import { directoryState } from '@casemate/utpm/node';
import { serve } from '@casemate/utpm/server';
import { startSwtpm } from './peers.js';
import { compare, flags } from './turns.js';

type Operation = (round: number) => Promise<unknown>;

const work = mkdtempSync(join(tmpdir(), 'casemate-bench-'));
const swtpm = await startSwtpm();
const server = await serve({
  data: { type: 'tcp', port: 0 },
  state: await directoryState(join(work, 'served')),
  startup: true,
});
try {
  if (server.data.type !== 'tcp') throw new Error('the server does not listen on TCP');
  const inProcess = await openUtpm({ state: await directoryState(join(work, 'own')), startup: true });
  const contenders = {
    'in process': await operations(inProcess),
    'over TCP': await operations(await connectSwtpm({ host: '127.0.0.1', port: server.data.port })),
    swtpm: await operations(await connectSwtpm({ host: '127.0.0.1', port: swtpm.port })),
  };
  for (const name of Object.keys(contenders.swtpm)) {
    for (const way of ['in process', 'over TCP'] as const) await measure(name, way, contenders);
  }
} finally {
  await server.close();
  swtpm.stop();
  rmSync(work, { recursive: true, force: true });
}
process.exit(0);

async function measure(
  name: string,
  way: 'in process' | 'over TCP',
  contenders: Readonly<Record<'in process' | 'over TCP' | 'swtpm', Readonly<Record<string, Operation>>>>,
): Promise<void> {
  const ours = contenders[way][name];
  const theirs = contenders.swtpm[name];
  if (!ours || !theirs) throw new Error(`nothing measures ${name}`);
  await compare({
    area: 'utpm',
    name: `${name} (${way})`,
    unit: 'us',
    better: 'lower',
    rounds: flags.quick ? 5 : 15,
    ours: () => timed(ours),
    theirs: { 'swtpm over TCP': () => timed(theirs) },
  });
}

/** Microseconds an operation takes, over a batch of about a tenth of a second. */
async function timed(operation: Operation): Promise<number> {
  const start = performance.now();
  let count = 0;
  do {
    await operation(count++);
  } while (performance.now() - start < (flags.quick ? 20 : 100));
  return ((performance.now() - start) * 1000) / count;
}

/** The same client with the same provider in front of each; the operations are those of the shared judge. */
async function operations(transport: TpmTransport): Promise<Readonly<Record<string, Operation>>> {
  const tpm = new Tpm(transport, { crypto: nodeCrypto });
  const storage = await createPrimary(tpm, { template: srkTemplate('ecc-p256') });
  const sealed = await seal(tpm, { parent: storage, data: randomBytes(32) });
  const ak = await createPrimary(tpm, { template: akTemplate('ecc-p256'), hierarchy: 'endorsement' });
  const nv = await nvDefine(tpm, { index: 0x01500020, size: 32 });
  await nvWrite(tpm, nv, new Uint8Array(32));
  const nonce = randomBytes(16);
  const digest = new Uint8Array(randomBytes(32));
  const signing = await createKey(tpm, storage, { template: signingKeyTemplate('ecc-p256') });
  return {
    'GetRandom(32)': () => tpm.execute(GetRandom, { bytesRequested: 32 }),
    'PCR_Read (8 sha256)': () => readPcrs(tpm, { sha256: [0, 1, 2, 3, 4, 5, 6, 7] }),
    'PCR_Extend sha256': () => extendPcr(tpm, 16, { sha256: digest }),
    'NV_Read 32 B': () => nvRead(tpm, nv),
    'NV_Write 32 B of changing data': () => nvWrite(tpm, nv, new Uint8Array(randomBytes(32))),
    'Load, Unseal, Flush': () => unseal(tpm, { parent: storage, sealed }),
    'Quote ECC P-256, 8 PCRs': () => quote(tpm, ak, { nonce, pcrs: { sha256: [0, 1, 2, 3, 4, 5, 6, 7] } }),
    'Load, Sign ECDSA P-256, Flush': async () => {
      const key = await loadKey(tpm, storage, signing);
      const signature = await tpmSigner(tpm, key).sign(digest);
      await tpm.execute(FlushContext, { flushHandle: key.handle });
      return signature;
    },
  };
}
