/** `casemate-pki`: an authority on the command line. */
import { EXIT, type ProgramDefinition, SOURCES } from '@casemate/command-line';
import { COMMANDS } from './commands.js';
import type { Context } from './definition.js';
import { tellPkiError } from './failure.js';
import { VERSION } from './version.js';

/** The program. */
export const PROGRAM: ProgramDefinition<Context> = {
  name: 'casemate-pki',
  summary: 'an authority for devices, software and their users',
  version: VERSION,
  commands: COMMANDS,
  sections: [{ title: 'passphrases come from a SOURCE', rows: [[SOURCES]] }],
  exitCodes: {
    [EXIT.UNREACHABLE]: 'a TPM, token or store cannot be reached, or is in use',
    [EXIT.REFUSED]: 'a profile, policy or store does not permit it',
    [EXIT.UNAUTHORISED]: 'a passphrase or PIN is wrong or missing',
  },
  tell: tellPkiError,
  extend: (context) => context,
};
