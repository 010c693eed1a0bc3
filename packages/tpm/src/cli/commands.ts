/** The commands of the program. */

import { decodeCommand } from './commands/decode.js';
import { flushCommand, handlesCommand } from './commands/handles.js';
import { getcapCommand, infoCommand } from './commands/info.js';
import { KEY_COMMANDS } from './commands/key.js';
import { NV_COMMANDS } from './commands/nv.js';
import { extendCommand, pcrsCommand } from './commands/pcrs.js';
import { ekCommand, lockoutCommand, randomCommand, shutdownCommand, startupCommand } from './commands/platform.js';
import { checkQuoteCommand, quoteCommand } from './commands/quote.js';
import { sealCommand, unsealCommand } from './commands/seal.js';
import type { CommandDefinition } from './definition.js';

/** All of them, in the order of the help. */
export const COMMANDS: readonly CommandDefinition[] = [
  infoCommand,
  pcrsCommand,
  extendCommand,
  quoteCommand,
  checkQuoteCommand,
  sealCommand,
  unsealCommand,
  ...KEY_COMMANDS,
  ...NV_COMMANDS,
  ekCommand,
  randomCommand,
  handlesCommand,
  flushCommand,
  getcapCommand,
  lockoutCommand,
  startupCommand,
  shutdownCommand,
  decodeCommand,
];
