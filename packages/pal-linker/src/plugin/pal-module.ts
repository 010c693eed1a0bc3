/** A PAL as a module of an application: what the plugins for bundlers have in common. */
import { existsSync, readFileSync } from 'node:fs';
import { basename, dirname, extname, join, resolve } from 'node:path';
import { type BuildPalOptions, buildPal, type PalEngine } from '../build/build-pal.js';
import { filesReadBefore } from '../build/diagnostics.js';
import { type PalDiagnostic, PalLinkerError } from '../error.js';
import { measurePal, parsePalImage } from '../image.js';
import { type PalSigner, signPal } from '../signature.js';

/** How PALs of an application are built. */
export interface PalPluginOptions {
  /** Which engine they are for; `wasm` unless given. */
  readonly engine?: PalEngine;
  /** Their version; that of the package that holds the source unless given. */
  readonly version?: string;
  /** More for a PAL, by its file: its name, whether it is replay-protected, options of its compiler … */
  readonly options?: (file: string) => Partial<Omit<BuildPalOptions, 'sources' | 'signal' | 'onStep'>>;
  /** Signs them, as `openSigningKey` of `@casemate/pal-linker/node` or a key of `@casemate/pki` does. */
  readonly signer?: PalSigner;
  /** The security version that is signed; 0 unless given. */
  readonly securityVersion?: number;
}

/** What an import of a PAL gives, as its default export. */
export interface ImportedPal {
  /** The PAL's name. */
  readonly name: string;
  /** The PAL's version. */
  readonly version: string;
  /** Which engine it is for. */
  readonly engine: PalEngine;
  /** Its measurement, hexadecimal. */
  readonly measurement: string;
  /** The image, for `register` of `@casemate/trustvisor`. */
  readonly image: Uint8Array;
}

/** Imports that are PALs: `counter.pal.ts` and `counter.pal.c`, also with `?pal` behind, which TypeScript needs to see. */
export const PAL_IMPORT = /\.pal\.(?:ts|c|wasm)(?:\?pal)?$/;

/** The file that an import names. */
export function fileOfImport(path: string): string {
  return path.replace(/\?pal$/, '');
}

/** JavaScript that holds the PAL, or why there is none; and which files it depends on. */
export interface PalModule {
  readonly code: string | undefined;
  readonly problem: string | undefined;
  readonly errors: readonly PalDiagnostic[];
  readonly warnings: readonly PalDiagnostic[];
  readonly dependencies: readonly string[];
}

/** Builds a PAL for an application; errors of sources are part of the result, so that a bundler can wait for them to be mended. */
export async function buildPalModule(file: string, base: string, options: PalPluginOptions): Promise<PalModule> {
  const manifests: string[] = [];
  try {
    return await build(file, base, { ...options, manifests });
  } catch (error) {
    if (!(error instanceof PalLinkerError)) throw error;
    const named = error.diagnostics.map((diagnostic) => resolve(base, diagnostic.file));
    const dependencies = [...new Set([file, ...manifests, ...filesReadBefore(error), ...named])];
    const errors = error.diagnostics.filter(({ severity }) => severity === 'error');
    const warnings = error.diagnostics.filter(({ severity }) => severity === 'warning');
    return { code: undefined, problem: error.message, errors, warnings, dependencies };
  }
}

/** `manifests` collects the package.json files that were asked for a version. */
async function build(
  file: string,
  base: string,
  options: PalPluginOptions & { readonly manifests: string[] },
): Promise<PalModule> {
  const { engine = 'wasm', signer, securityVersion, manifests } = options;
  if (securityVersion !== undefined && signer === undefined)
    throw new PalLinkerError(
      'input',
      `build PAL ${basename(file)}: expected a signer beside a security version, got none`,
    );
  const more = options.options?.(file);
  const built = await buildPal({
    name: basename(file, extname(file)).replace(/\.pal$/, ''),
    baseDirectory: base,
    engine,
    ...more,
    version: more?.version ?? options.version ?? versionFor(file, manifests),
    sources: [file],
  });
  const image = signer ? await signPal(built.image, signer, { securityVersion: securityVersion ?? 0 }) : built.image;
  const code = moduleFor(image, more?.engine ?? engine);
  const dependencies = [...new Set([file, ...manifests, ...built.dependencies])];
  return { code, problem: undefined, errors: [], warnings: built.warnings, dependencies };
}

/** The version of the nearest package above. Throws {@link PalLinkerError} with code `input`. */
function versionFor(file: string, manifests: string[]): string {
  for (let directory = dirname(file); ; directory = dirname(directory)) {
    const manifest = join(directory, 'package.json');
    const version = versionIn(manifest);
    if (existsSync(manifest)) manifests.push(manifest);
    if (version !== undefined) return version;
    if (directory === dirname(directory)) break;
  }
  throw new PalLinkerError(
    'input',
    `build PAL ${basename(file)}: expected a version in a package.json above, or as an option`,
  );
}

function versionIn(path: string): string | undefined {
  try {
    const manifest: unknown = JSON.parse(readFileSync(path, 'utf8'));
    if (typeof manifest !== 'object' || manifest === null || !('version' in manifest)) return undefined;
    return typeof manifest.version === 'string' ? manifest.version : undefined;
  } catch {
    return undefined; // not there, or not ours to judge
  }
}

/** ES module text; runs in Node and in browsers. */
function moduleFor(image: Uint8Array, engine: PalEngine): string {
  const { name, version } = parsePalImage(image);
  const measurement = Buffer.from(measurePal(image)).toString('hex');
  return `export const name = ${JSON.stringify(name)};
export const version = ${JSON.stringify(version)};
export const engine = ${JSON.stringify(engine)};
export const measurement = ${JSON.stringify(measurement)};
export const image = Uint8Array.from(atob(${JSON.stringify(Buffer.from(image).toString('base64'))}), (c) => c.charCodeAt(0));
export default { name, version, engine, measurement, image };
`;
}
