/** swtpm's data channel: TPM commands and responses as they are, without framing of their own. */
import type { Protocol } from './connection.js';
import type { Platform } from './platform.js';

const HEADER = 10;
const MAX_COMMAND = 4096;
// What swtpm answers while it is not initialised: TPM_RC_FAILURE behind TPM_ST_NO_SESSIONS.
const NOT_INITIALISED = Uint8Array.of(0x80, 0x01, 0, 0, 0, 10, 0, 0, 1, 1);

/** Commands from the locality that the control channel set. */
export function dataChannel(platform: Platform): Protocol {
  return {
    measure(bytes) {
      if (bytes.length < HEADER) return 0;
      const size = new DataView(bytes.buffer, bytes.byteOffset).getUint32(2);
      if (size > MAX_COMMAND) return -1;
      // A size below the header's cannot be followed; the TPM answers what it thinks of it.
      return Math.max(size, HEADER);
    },
    answer: async (request) => (await platform.run(request, platform.locality)) ?? NOT_INITIALISED,
  };
}
