/** Step 6: the counter PAL, called through the TZ API. */
import { type MeasurementLog, measure } from '@casemate/attestation';
import type { Tpm } from '@casemate/tpm';
import type { Pal, Trustvisor } from '@casemate/trustvisor';
import { measurementUuid, openDevice } from '@casemate/tz';
import { COUNTER_COMMAND } from './counter-pal.js';

/** Registers the PAL, whose state is judged by that, and measures it before its first call. */
export async function registerCounter(
  trustvisor: Trustvisor,
  image: Uint8Array,
  platform: { readonly tpm: Tpm; readonly log: MeasurementLog },
): Promise<Pal> {
  const pal = await trustvisor.register(image);
  const { name, version, measurement, identity } = pal;
  const statement = { type: 'pal', name, version, measurement, identityKey: identity } as const;
  await measure(platform.tpm, platform.log, { statement });
  return pal;
}

/** Adds one and returns the new value, as eight bytes and as a number. */
export async function increment(
  trustvisor: Trustvisor,
  pal: Pal,
): Promise<{ readonly value: bigint; readonly output: Uint8Array }> {
  await using device = await openDevice({ trustvisor, pals: [pal] });
  await using session = await device.openSession(measurementUuid(pal.measurement));
  const [low, high] = await session.invoke(COUNTER_COMMAND.INCREMENT);
  if (typeof low !== 'number' || typeof high !== 'number') throw new Error('the counter answered in another form');
  const output = new Uint8Array(8);
  new DataView(output.buffer).setUint32(0, high);
  new DataView(output.buffer).setUint32(4, low);
  return { value: (BigInt(high) << 32n) | BigInt(low), output };
}
