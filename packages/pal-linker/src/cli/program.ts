/** `pal`: builds, signs and inspects PALs. */
import { type BaseContext, EXIT, type ProgramDefinition, SOURCES } from '@casemate/command-line';
import { buildCommand } from './commands/build.js';
import { initCommand } from './commands/init.js';
import { inspectCommand } from './commands/inspect.js';
import { measureCommand } from './commands/measure.js';
import { signCommand } from './commands/sign.js';
import { verifyCommand } from './commands/verify.js';
import { tellPalLinkerError } from './failure.js';
import { VERSION } from './version.js';

/** The program. */
export const PROGRAM: ProgramDefinition = {
  name: 'pal',
  summary: 'builds, signs and inspects PALs, modules that run measured and isolated',
  version: VERSION,
  commands: [initCommand, buildCommand, inspectCommand, measureCommand, signCommand, verifyCommand],
  sections: [{ title: 'passphrases come from a SOURCE', rows: [[SOURCES]] }],
  exitCodes: {
    [EXIT.UNREACHABLE]: 'a compiler or another program is missing or broken',
    [EXIT.REFUSED]: 'a compiler or the linker refused the sources',
    [EXIT.UNAUTHORISED]: 'a passphrase is wrong or missing',
    [EXIT.CHECK_FAILED]: 'a signature or a measurement is not the one that it must be',
  },
  tell: tellPalLinkerError,
  extend: (context: BaseContext) => context,
};
