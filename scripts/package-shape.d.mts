import type { Package } from './workspace.mjs';

export declare function pack(
  pkg: Package,
  into: string,
): { readonly tarball: string; readonly files: readonly string[] };
