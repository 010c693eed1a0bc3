import type { Plugin } from 'esbuild';

export function besideIndex(
  index: string,
  aliases?: Readonly<Record<string, Readonly<Record<string, string>>>>,
): Plugin;
