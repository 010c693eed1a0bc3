/** The event that says from which locality the TPM was started. PC Client Platform Firmware Profile 1.06, section 10.4.5.3. */
import { bytes, type Infer, oneOf, struct, u8 } from '@casemate/wire';
import { equalBytes } from './octets.js';

const SIGNATURE = new TextEncoder().encode('StartupLocality\0');

/** TCG_EfiStartupLocalityEvent: `startupLocality` 0 is the usual one, 3 a firmware TPM, 4 an H-CRTM. */
export const StartupLocalityEvent = struct('TCG_EfiStartupLocalityEvent', {
  signature: bytes('signature', SIGNATURE.length),
  startupLocality: oneOf('startupLocality', u8, [0, 3, 4]),
});
/** The locality of TPM2_Startup; PCR 0 starts from it instead of from zero. */
export type StartupLocalityEvent = Infer<typeof StartupLocalityEvent>;

/** Whether the data of an EV_NO_ACTION event is a {@link StartupLocalityEvent}. */
export function isStartupLocality(event: Uint8Array): boolean {
  return equalBytes(event.subarray(0, SIGNATURE.length), SIGNATURE);
}

/** The data of a StartupLocality event for `startupLocality`. */
export function startupLocalityEvent(startupLocality: 0 | 3 | 4): StartupLocalityEvent {
  return { signature: SIGNATURE.slice(), startupLocality };
}
