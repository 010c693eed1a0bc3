/** `casemate-tpm`: what people do with a TPM 2.0, on the command line. */
import { EXIT, type ProgramDefinition, SOURCES } from '@casemate/command-line';
import { COMMANDS } from './commands.js';
import { withWayToTpm } from './context.js';
import type { Context } from './definition.js';
import { tellTpmError } from './failure.js';
import { PROGRAM_OPTIONS } from './options.js';
import { VERSION } from './version.js';

/** The program. */
export const PROGRAM: ProgramDefinition<Context> = {
  name: 'casemate-tpm',
  summary: 'what people do with a TPM 2.0',
  version: VERSION,
  commands: COMMANDS,
  options: PROGRAM_OPTIONS,
  sections: [
    {
      title: 'addresses',
      rows: [
        ['device:/dev/tpmrm0', 'a device of the Linux kernel; a bare path will do'],
        ['swtpm:host=H,port=N', 'swtpm or utpm over TCP; swtpm:path=P over a Unix socket'],
        ['mssim:host=H,port=N', "Microsoft's simulator, and whatever speaks its protocol"],
        ['utpm:DIRECTORY', 'a software TPM of our own with its state in DIRECTORY; needs @casemate/utpm'],
      ],
    },
    { title: 'passwords come from a SOURCE', rows: [[SOURCES]] },
  ],
  exitCodes: {
    [EXIT.UNREACHABLE]: 'the TPM cannot be reached or does not answer',
    [EXIT.REFUSED]: 'the TPM refused the command',
    [EXIT.UNAUTHORISED]: 'a password is wrong, a policy is not met, or the TPM is in lockout',
  },
  tell: tellTpmError,
  failureDetails: { response: null },
  extend: withWayToTpm,
};
