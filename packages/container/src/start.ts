/** Starting a container: verify, unpack, limit, measure, and only then run. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { arch } from 'node:process';
import { GUESTOS_PCR, type MeasurementLog, measure } from '@casemate/attestation';
import { type Cgroup, CgroupError, createCgroup } from '@casemate/cgroups';
import {
  type Capability,
  NamespaceError,
  type Sandbox,
  type SandboxSpec,
  type StartOptions,
  startSandbox,
} from '@casemate/namespaces';
import { nameText } from '@casemate/pki';
import type { Tpm } from '@casemate/tpm';
import { MACHINES } from './build.js';
import { fromHex, type GuestOsConfig, type GuestOsLimits } from './config.js';
import { Container, type ContainerState } from './container.js';
import { ContainerError, messageOf } from './error.js';
import { extractImage } from './extract.js';
import { ownedName, removeOrphans } from './owned-name.js';
import { removeTree } from './remove-tree.js';
import { RunLog } from './run-log.js';
import type { GuestOsId, GuestOsStore } from './store.js';
import { openImage, type TrustOptions, type VerifiedConfiguration, verifyConfiguration } from './verify.js';

/** What to start and how. */
export interface StartContainerOptions {
  /** Which GuestOS of which store. */
  readonly guestOs: GuestOsId & { readonly store: GuestOsStore };
  /** Whom the caller trusts to sign software. */
  readonly trust: TrustOptions;
  /** The platform's TPM; the GuestOS is measured into its PCR 11. */
  readonly tpm: Tpm;
  /** The platform's measurement log. */
  readonly log: MeasurementLog;
  /** What to run in place of the GuestOS's init: an absolute path inside and its arguments. A small init then runs it. */
  readonly command?: readonly [string, ...string[]];
  /** Variables beside those of the configuration; they win. */
  readonly env?: Readonly<Record<string, string>>;
  /** Which of the capabilities that the GuestOS requests it gets; if it requests another one, it is refused. None unless given. */
  readonly capabilities?: readonly Capability[];
  /** Limits in place of those of the configuration. */
  readonly limits?: Partial<GuestOsLimits>;
  /** Bytes that it may change of its root, which are kept in memory and vanish with it; an eighth of its memory unless given. */
  readonly changesMax?: number;
  /**
   * The directory in which its root is unpacked while it runs; the store unless given. In a tmpfs that is quicker and takes memory.
   * Nobody else may be able to write to it.
   */
  readonly runDirectory?: string;
  /** Where its streams go; pipes unless given. */
  readonly stdio?: StartOptions['stdio'];
  /** The record to append to; a new one unless given. It also tells why a start was refused. */
  readonly runLog?: RunLog;
  /** Told of each change of state. */
  readonly onState?: (state: ContainerState) => void;
  /** Ends the container when it is aborted. */
  readonly signal?: AbortSignal;
  /** Goes on without limits that cannot be enforced here; they are listed in the record. */
  readonly insecureAllowMissingLimits?: boolean;
}

/**
 * Starts a container. In this order: the configuration's signature, its chain and the digest of every byte of the image are verified;
 * the image is unpacked into a new private directory while exactly the bytes that are unpacked are hashed again; the cgroup with its
 * limits is made; the GuestOS is measured into PCR 11 and the log; then its first process starts. Where one step fails, no instruction
 * of the GuestOS has run and nothing is left but the record.
 *
 * Throws {@link ContainerError}: `not-found`, `signature`, `certificate`, `config`, `image`, `archive`, `not-allowed`, `limits`, `start`, `io`;
 * `AttestationError` and `TpmError` where it cannot be measured.
 */
export async function startContainer(options: StartContainerOptions): Promise<Container> {
  const runLog = options.runLog ?? new RunLog();
  const undo: (() => Promise<void>)[] = [];
  try {
    runLog.append({ event: 'state', state: 'STARTING' });
    options.onState?.('STARTING');
    const verified = await verify(options, runLog);
    const root = await unpack(options, verified.config, runLog, undo);
    const cgroup = await limit(options, verified.config, runLog, undo);
    await measureGuestOs(options, verified, runLog);
    const sandbox = await run(options, verified.config, { root, cgroup, runLog });
    return new Container({ verified, sandbox, cgroup, runLog, onState: options.onState, cleanUp: () => unwind(undo) });
  } catch (error) {
    runLog.append({ event: 'refused', code: codeOf(error), detail: messageOf(error) });
    await unwind(undo);
    throw error;
  }
}

async function verify(options: StartContainerOptions, runLog: RunLog): Promise<VerifiedConfiguration> {
  const { guestOs, trust, capabilities = [] } = options;
  const verified = await verifyConfiguration(guestOs.store, guestOs, trust);
  const { config } = verified;
  assertRunnable(config, capabilities);
  await using image = await openImage(guestOs.store, config);
  // Before one byte of the image is interpreted: the archive reader then sees what was signed, unless the file is swapped now.
  await image.verify();
  runLog.append({
    event: 'verified',
    guestOs: config.name,
    version: config.version,
    signer: nameText(verified.signer.subject),
    configDigest: Buffer.from(verified.configDigest).toString('hex'),
    imageDigest: config.image.sha256,
  });
  return verified;
}

function assertRunnable(config: GuestOsConfig, granted: readonly Capability[]): void {
  const machine = MACHINES[arch] ?? arch;
  const what = `start ${config.name}-${config.version}`;
  if (config.hardware !== machine) {
    throw new ContainerError(
      'not-allowed',
      `${what}: expected a GuestOS for ${machine}, got one for ${config.hardware}`,
    );
  }
  const refused = config.capabilities.filter((capability) => !granted.includes(capability));
  if (refused.length === 0) return;
  throw new ContainerError(
    'not-allowed',
    `${what}: expected no request beyond ${granted.join(', ') || 'none'}, got ${refused.join(', ')}`,
  );
}

/**
 * Unpacks into a directory of mode 700 that this start alone uses. An unpacked copy of an earlier start is never taken: whether it
 * is still what was signed could only be told by reading all of it again, and could change while that is done.
 */
async function unpack(
  { guestOs, runDirectory }: StartContainerOptions,
  config: GuestOsConfig,
  runLog: RunLog,
  undo: (() => Promise<void>)[],
): Promise<string> {
  const { store } = guestOs;
  const parent = runDirectory ?? store.directory;
  await removeOrphans(parent, RUN);
  const directory = join(parent, ownedName(RUN));
  await mkdir(directory, { mode: 0o700 });
  undo.push(() => removeTree(directory));
  const root = join(directory, 'root');
  await using image = await openImage(store, config);
  await image.pass(async (chunks) => {
    const { entries, keptOwners } = await extractImage(chunks, root);
    runLog.append({ event: 'unpacked', entries, keptOwners });
  });
  return root;
}

async function limit(
  options: StartContainerOptions,
  config: GuestOsConfig,
  runLog: RunLog,
  undo: (() => Promise<void>)[],
): Promise<Cgroup> {
  const { memoryMax, pidsMax, cpuMax } = limitsOf(options, config);
  const cgroup = await createLimited(
    config,
    { memoryMax, pidsMax, cpuMax },
    options.insecureAllowMissingLimits ?? false,
  );
  undo.push(() => cgroup.destroy());
  runLog.append({ event: 'limits', memoryMax, pidsMax, cpuMax });
  for (const { limit: name, reason } of cgroup.missing) {
    runLog.append({ event: 'insecure-missing-limit', limit: name, reason });
  }
  return cgroup;
}

/** One by one: a limit that is `undefined` in the options would otherwise take the place of the signed one, and none would be set. */
function limitsOf({ limits }: StartContainerOptions, { limits: signed }: GuestOsConfig): GuestOsLimits {
  return {
    memoryMax: limits?.memoryMax ?? signed.memoryMax,
    pidsMax: limits?.pidsMax ?? signed.pidsMax,
    cpuMax: limits?.cpuMax ?? signed.cpuMax,
  };
}

async function createLimited(config: GuestOsConfig, limits: GuestOsLimits, insecure: boolean): Promise<Cgroup> {
  try {
    return await createCgroup({
      label: config.name,
      limits: {
        memoryMax: limits.memoryMax,
        pidsMax: limits.pidsMax,
        cpuMax: { quota: limits.cpuMax * (CPU_PERIOD / 1000), period: CPU_PERIOD },
      },
      insecureSkipMissingLimits: insecure,
      moveProgram: true, // in a scope that was delegated to this program, it stands in the way of its containers' limits
    });
  } catch (error) {
    if (!(error instanceof CgroupError)) throw error;
    const remedy = error.remedy ?? 'pass insecureAllowMissingLimits to run without the limits that cannot be enforced';
    throw new ContainerError('limits', `limit ${config.name}-${config.version}: ${error.message}`, {
      remedy,
      cause: error,
    });
  }
}

async function measureGuestOs(
  { tpm, log }: StartContainerOptions,
  { config, configDigest }: VerifiedConfiguration,
  runLog: RunLog,
): Promise<void> {
  const { name, version, image } = config;
  const statement = { type: 'guestos', name, version, configDigest, imageDigest: fromHex(image.sha256) } as const;
  await measure(tpm, log, { statement });
  runLog.append({ event: 'measured', pcr: GUESTOS_PCR });
}

async function run(
  options: StartContainerOptions,
  config: GuestOsConfig,
  { root, cgroup, runLog }: { readonly root: string; readonly cgroup: Cgroup; readonly runLog: RunLog },
): Promise<Sandbox> {
  const spec = sandboxOf(options, config, root, cgroup);
  try {
    const { stdio, signal } = options;
    const sandbox = await startSandbox(spec, { ...(stdio && { stdio }), ...(signal && { signal }) });
    const { capabilities } = config;
    runLog.append({ event: 'started', pid: sandbox.pid, command: spec.command, capabilities });
    return sandbox;
  } catch (error) {
    if (!(error instanceof NamespaceError)) throw error;
    const problem = `start ${config.name}-${config.version}: ${error.message}`;
    throw new ContainerError('start', problem, { remedy: error.remedy, cause: error });
  }
}

/** The sandbox of a GuestOS: every namespace, its own ids, a root that keeps changes in memory, and no capability that was not granted. */
function sandboxOf(options: StartContainerOptions, config: GuestOsConfig, root: string, cgroup: Cgroup): SandboxSpec {
  const size = options.changesMax ?? Math.floor(limitsOf(options, config).memoryMax / 8);
  return {
    command: options.command ?? [config.init.path, ...config.init.args],
    init: options.command !== undefined,
    env: { ...config.init.env, ...options.env },
    root: { type: 'overlay', lower: [root], changes: { type: 'memory', size } },
    hostname: config.name.replace(/[^a-z0-9-]/g, '-'),
    capabilities: config.capabilities,
    cgroup,
  };
}

/** Undoes the steps, the last one first; all of them, even where one fails. */
async function unwind(undo: (() => Promise<void>)[]): Promise<void> {
  const failures: unknown[] = [];
  for (const step of undo.splice(0).reverse()) await step().catch((error) => failures.push(error));
  if (failures.length > 0) throw failures[0];
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'error';
}

const RUN = '.container';
const CPU_PERIOD = 100_000;
