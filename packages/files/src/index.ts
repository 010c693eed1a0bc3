/** Durable replacement of files. Private: it is bundled into each package that keeps files. */
export { replaceFile, syncDirectory } from './replace-file.js';
