/** What a command of the program is. */
import type { BaseContext, CommandDefinition as CommandOf } from '@casemate/command-line';

/** What a command gets. */
export type Context = BaseContext;

/** A command of the program. */
export type CommandDefinition = CommandOf<Context>;
