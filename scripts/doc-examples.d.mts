import type { Package } from './workspace.mjs';

export declare function runnableExample(pkg: Package): string;
