/** The commands of the program. */

import { AUDIT_COMMANDS } from './commands/audit.js';
import { CEREMONY_COMMANDS } from './commands/ceremony.js';
import { initCommand } from './commands/init.js';
import { inspectCommand } from './commands/inspect.js';
import { issueCommand } from './commands/issue.js';
import { crlCommand, revokeCommand } from './commands/revoke.js';
import { serveCommand } from './commands/serve.js';
import { signCommand, verifyCommand } from './commands/sign.js';
import type { CommandDefinition } from './definition.js';

/** All of them, in the order of the help. */
export const COMMANDS: readonly CommandDefinition[] = [
  initCommand,
  issueCommand,
  signCommand,
  verifyCommand,
  revokeCommand,
  crlCommand,
  inspectCommand,
  serveCommand,
  ...AUDIT_COMMANDS,
  ...CEREMONY_COMMANDS,
];
