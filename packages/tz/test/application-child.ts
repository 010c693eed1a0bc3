/** An application for the tests: opens a device with shared memory and a call that never ends, says so, and waits to be killed. */
import { readFileSync } from 'node:fs';
import { directoryStore, openTrustvisor } from '@casemate/trustvisor';
import { openDevice, TZ_MEM } from '../src/index.js';

const [, , engine, image = '', store = ''] = process.argv;
const trustvisor = await openTrustvisor({
  store: directoryStore(store),
  engine: engine === 'kvm' ? 'kvm' : 'wasm',
  insecureAllowEphemeral: true,
});
const device = await openDevice({ trustvisor });
const manager = await device.openManager();
const service = await manager.downloadService(new Uint8Array(readFileSync(image)));
const sessions = [await device.openSession(service), await device.openSession(service)];
const memory = await sessions[0]?.allocateSharedMemory(1 << 20, TZ_MEM.SERVICE_RW);
memory?.write(0, new TextEncoder().encode('what nobody may find'));
const spinning = sessions[0]?.prepareInvoke(3);
if (memory) spinning?.encode([memory.range()]);
spinning?.asyncStart();
setTimeout(() => process.stdout.write(`${trustvisor.pid}\n`), 200);
setInterval(() => undefined, 1000);
