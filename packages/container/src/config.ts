/** The signed configuration of a GuestOS: one JSON text for one value, read by a strict, bounded parser. */
import { CAPABILITIES, type Capability } from '@casemate/namespaces';
import { ContainerError, messageOf } from './error.js';

/** What a GuestOS is and how it wants to run. */
export interface GuestOsConfig {
  /** Name: lower-case letters, digits, `.`, `_` and `-`, at most 64 characters, first a letter or digit. */
  readonly name: string;
  /** Version, a whole number from 0 to 2^53-1; a larger one is newer. */
  readonly version: number;
  /** Machine that it runs on, as uname(1) calls it, such as `x86_64`. */
  readonly hardware: string;
  /** The root filesystem, a tar archive. */
  readonly image: GuestOsImage;
  /** What is started. */
  readonly init: GuestOsInit;
  /** Capabilities that it requests; without the caller's consent it has none. */
  readonly capabilities: readonly Capability[];
  /** What it may use at most. */
  readonly limits: GuestOsLimits;
}

/** The image of a GuestOS. */
export interface GuestOsImage {
  /** Its length in bytes. */
  readonly size: number;
  /** SHA-256 of every byte of it, lower-case hexadecimal. */
  readonly sha256: string;
}

/** The first process of a GuestOS. */
export interface GuestOsInit {
  /** Absolute path inside. */
  readonly path: string;
  /** Arguments after the path. */
  readonly args: readonly string[];
  /** The whole environment. */
  readonly env: Readonly<Record<string, string>>;
}

/** Limits that are always set. */
export interface GuestOsLimits {
  /** Memory in bytes. */
  readonly memoryMax: number;
  /** Processes and threads. */
  readonly pidsMax: number;
  /** CPU time in thousandths of one CPU: 1000 is one CPU, 500 half of one. */
  readonly cpuMax: number;
}

/** The largest configuration, in bytes. */
export const MAX_CONFIG = 65_536;

/** The largest image, in bytes. */
export const MAX_IMAGE = 64 * 1024 ** 3;

/** Limits of a GuestOS whose builder names none: 512 MiB, 512 processes, one CPU. */
export const DEFAULT_LIMITS: GuestOsLimits = { memoryMax: 512 * 1024 * 1024, pidsMax: 512, cpuMax: 1000 };

/** The bytes that are signed: the members in one order, two spaces of indentation, a line feed at the end. Throws {@link ContainerError} `bad-input`. */
export function encodeGuestOsConfig(config: GuestOsConfig): Uint8Array {
  const text = render(config);
  try {
    checkConfig(JSON.parse(text));
  } catch (error) {
    throw new ContainerError('bad-input', `encode configuration: ${messageOf(error)}`, { cause: error });
  }
  return new TextEncoder().encode(text);
}

/**
 * Parses a configuration. Everything must be there and nothing else, and the text must be the one that
 * {@link encodeGuestOsConfig} writes, so that one value has one digest. Throws {@link ContainerError} `config`.
 */
export function parseGuestOsConfig(bytes: Uint8Array): GuestOsConfig {
  if (bytes.length > MAX_CONFIG) throw refuse(`expected at most ${MAX_CONFIG} bytes, got ${bytes.length}`);
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    const config = checkConfig(JSON.parse(text));
    if (render(config) === text) return config;
  } catch (error) {
    throw refuse(messageOf(error), error);
  }
  throw refuse('expected the one text that its value has, got another');
}

/** Name, version and image digest of a configuration, as a verifier of evidence reads it. Throws {@link ContainerError} `config`. */
export function readGuestOsConfig(bytes: Uint8Array): {
  readonly name: string;
  readonly version: number;
  readonly imageDigest: Uint8Array;
} {
  const { name, version, image } = parseGuestOsConfig(bytes);
  return { name, version, imageDigest: fromHex(image.sha256) };
}

/** Throws {@link ContainerError} `bad-input` unless `name` and `version` can name a GuestOS. */
export function assertGuestOsName(name: string, version: number): void {
  if (!NAME.test(name))
    throw new ContainerError('bad-input', `name a GuestOS: expected ${NAME}, got ${JSON.stringify(name)}`);
  if (!Number.isSafeInteger(version) || version < 0) {
    throw new ContainerError('bad-input', `name a GuestOS: expected a version from 0 to 2^53-1, got ${version}`);
  }
}

/** Bytes of lower-case hexadecimal digits. */
export function fromHex(text: string): Uint8Array {
  return Uint8Array.from(text.match(/../g) ?? [], (byte) => Number.parseInt(byte, 16));
}

function render(config: GuestOsConfig): string {
  const { name, version, hardware, image, init, limits } = config;
  const ordered = {
    format: FORMAT,
    name,
    version,
    hardware,
    image: { size: image.size, sha256: image.sha256 },
    init: { path: init.path, args: init.args, env: sorted(init.env) },
    capabilities: [...config.capabilities].sort(),
    limits: { memoryMax: limits.memoryMax, pidsMax: limits.pidsMax, cpuMax: limits.cpuMax },
  };
  return `${JSON.stringify(ordered, undefined, 2)}\n`;
}

function sorted(env: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(env).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function checkConfig(value: unknown): GuestOsConfig {
  const config = members('configuration', value, CONFIG_MEMBERS);
  const image = members('image', config.image, ['size', 'sha256']);
  const init = members('init', config.init, ['path', 'args', 'env']);
  const limits = members('limits', config.limits, ['memoryMax', 'pidsMax', 'cpuMax']);
  if (config.format !== FORMAT) throw new Error(`expected format ${FORMAT}, got ${JSON.stringify(config.format)}`);
  return {
    name: matching('name', config.name, NAME),
    version: whole('version', config.version, 0, Number.MAX_SAFE_INTEGER),
    hardware: matching('hardware', config.hardware, /^[a-z0-9_]{1,32}$/),
    image: {
      size: whole('image.size', image.size, 0, MAX_IMAGE),
      sha256: matching('image.sha256', image.sha256, /^[0-9a-f]{64}$/),
    },
    init: { path: absolute(init.path), args: texts('init.args', init.args), env: environment(init.env) },
    capabilities: capabilities(config.capabilities),
    limits: {
      memoryMax: whole('limits.memoryMax', limits.memoryMax, 1024 * 1024, Number.MAX_SAFE_INTEGER),
      pidsMax: whole('limits.pidsMax', limits.pidsMax, 1, 4_194_304),
      cpuMax: whole('limits.cpuMax', limits.cpuMax, 10, 1_000_000),
    },
  };
}

function members<const K extends string>(what: string, value: unknown, names: readonly K[]): Record<K, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new Error(`expected ${what} to be an object`);
  const got = Object.keys(value);
  if (got.length === names.length && names.every((name) => Object.hasOwn(value, name)))
    return value as Record<K, unknown>; // checked here
  throw new Error(`expected the members ${names.join(', ')} in ${what}, got ${got.slice(0, 20).join(', ')}`);
}

function matching(what: string, value: unknown, form: RegExp): string {
  if (typeof value === 'string' && form.test(value)) return value;
  throw new Error(`expected ${what} like ${form}, got ${JSON.stringify(value)?.slice(0, 80)}`);
}

function whole(what: string, value: unknown, min: number, max: number): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= min && value <= max) return value;
  throw new Error(
    `expected ${what} to be a whole number from ${min} to ${max}, got ${JSON.stringify(value)?.slice(0, 80)}`,
  );
}

function text(what: string, value: unknown): string {
  if (typeof value === 'string' && value.length <= 4096 && !value.includes('\0')) return value;
  throw new Error(`expected ${what} to be text of at most 4096 characters without NUL`);
}

function texts(what: string, value: unknown): readonly string[] {
  if (Array.isArray(value) && value.length <= 256) return value.map((item) => text(what, item));
  throw new Error(`expected ${what} to be a list of at most 256 texts`);
}

function absolute(value: unknown): string {
  const path = text('init.path', value);
  if (path.startsWith('/')) return path;
  throw new Error(`expected init.path to be absolute, got ${JSON.stringify(path)}`);
}

function environment(value: unknown): Readonly<Record<string, string>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new Error('expected init.env to be an object');
  const entries = Object.entries(value);
  if (entries.length > 256) throw new Error(`expected at most 256 variables in init.env, got ${entries.length}`);
  return Object.fromEntries(
    entries.map(([key, item]) => [matching('a variable', key, /^[A-Za-z_][A-Za-z0-9_]{0,127}$/), text(key, item)]),
  );
}

function capabilities(value: unknown): readonly Capability[] {
  const names = texts('capabilities', value);
  const known = new Set<string>(Object.keys(CAPABILITIES));
  const unknown = names.find((name) => !known.has(name));
  if (unknown !== undefined) throw new Error(`expected names of capabilities, got ${JSON.stringify(unknown)}`);
  if (new Set(names).size < names.length) throw new Error('expected each capability once');
  return names as readonly Capability[]; // each is a key of CAPABILITIES
}

function refuse(problem: string, cause?: unknown): ContainerError {
  return new ContainerError('config', `parse configuration: ${problem}`, { cause });
}

const FORMAT = 1;
const NAME = /^[a-z0-9][a-z0-9._-]{0,63}$/;
const CONFIG_MEMBERS = ['format', 'name', 'version', 'hardware', 'image', 'init', 'capabilities', 'limits'] as const;
