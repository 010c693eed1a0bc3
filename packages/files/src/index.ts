/** Durable replacement of files. Private: it is bundled into each package that keeps files. */
export { replaceFile } from './replace-file.js';
