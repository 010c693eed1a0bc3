/** Starting programs so that no other process of their user can look into them; native/hidden-start.c does it. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';

/**
 * The command that starts `command` hidden, where there is a program for that (Linux, in `programs`, the directory of the isolate's
 * program): else `command` as it is. With `pairs` it makes socket pairs for it, from the descriptor `first` on.
 */
export function hiddenCommand(
  command: readonly string[],
  programs: string,
  pairs?: { readonly first: number; readonly count: number },
): readonly string[] {
  const starter = join(programs, 'bin', `linux-${process.arch}`, 'casemate-hidden-start');
  if (process.platform !== 'linux' || !existsSync(starter)) return command;
  return [starter, ...(pairs ? ['--pairs', `${pairs.first}`, `${pairs.count}`] : []), ...command];
}
