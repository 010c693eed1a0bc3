/** What an engine's tests start the thread of a PAL with. */
import { identityKeyCommand } from '../src/identity-key.js';
import { handOver, type ServicesStart } from '../src/pal-services.js';

/** Services of a PAL of no measurement, with fixed secrets. */
export function servicesStart(name: string): ServicesStart {
  const [sealing, endorsement, owner, platform] = [1, 2, 3, 4].map((byte) => new Uint8Array(32).fill(byte));
  if (!sealing || !endorsement || !owner || !platform) throw new Error('expected four secrets');
  return {
    secrets: handOver({ sealing, endorsement, owner, platform }),
    identityKey: identityKeyCommand(),
    name,
    measurement: new Uint8Array(32),
    classicMeasurement: new Uint8Array(20),
    signed: undefined,
    rsaIdentity: undefined,
    epoch: new Uint8Array(8),
    started: process.hrtime.bigint(),
  };
}
