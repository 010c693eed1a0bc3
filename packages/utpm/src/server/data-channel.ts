/** swtpm's data channel: TPM commands and responses as they are, without framing of their own. */
import { TPM_RC } from '@casemate/tpm';
import { readU32 } from '../bytes.js';
import type { Protocol } from './connection.js';
import { type Platform, responseOf } from './platform.js';

const HEADER = 10;
const MAX_COMMAND = 4096;

/** Commands from the locality that the control channel set. */
export function dataChannel(platform: Platform): Protocol {
  return {
    measure(bytes) {
      if (bytes.length < HEADER) return 0;
      const size = readU32(bytes, 2);
      if (size > MAX_COMMAND) return -1;
      // A size below the header's cannot be followed; the TPM answers what it thinks of it.
      return Math.max(size, HEADER);
    },
    // What swtpm answers while it is not initialised is a failure.
    answer: (request) => platform.run(request, platform.locality) ?? responseOf(TPM_RC.FAILURE),
  };
}
