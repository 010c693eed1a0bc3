/** The main job: a device from its certificates to a judged proof of what it runs. `--help` says more. */
import { writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import {
  type CheckName,
  collectEvidence,
  type Evidence,
  encodePolicy,
  type Failure,
  GUESTOS_PCR,
  type GuestOsEvidence,
  type MeasurementLog,
  openMeasurementLog,
  PAL_PCR,
  type Policy,
} from '@casemate/attestation';
import { type BuiltGuestOs, ContainerError, type GuestOsStore, openGuestOsStore, RunLog } from '@casemate/container';
import { measurePal } from '@casemate/pal-linker';
import { encodePem } from '@casemate/pki';
import { Tpm, type TpmTransport, tpmSigner } from '@casemate/tpm';
import { directoryStore, openTrustvisor, type Pal, type Trustvisor, TrustvisorError } from '@casemate/trustvisor';
import { type Maker, openMaker } from './authorities.js';
import { increment, registerCounter } from './counter.js';
import { COUNTER, linkCounter } from './counter-pal.js';
import { type Device, enrolDevice, openTpm } from './device.js';
import { buildEdge, EDGE, follow, startEdge } from './guest-os.js';
import { measuredConfigurations } from './measured.js';
import { help, type Options, parseOptions, UsageError } from './options.js';
import { Progress } from './progress.js';
import { type ReportData, renderReport } from './report.js';
import { certificateRows, hex, pcrRows } from './report-data.js';
import { openState, replaceFile, type State } from './state.js';
import { cheatingModule, damageState, restoreState, saveState, tamperEvidence, tamperGuestOs } from './tamper.js';
import { startVerifier } from './verdict.js';
import type { VerifierReport } from './verifier.js';

/** What the steps find out, for the evidence and for the report. */
interface Findings {
  readonly failures: Failure[];
  readonly passed: CheckName[];
  readonly runLog: RunLog;
  container: ReportData['container'];
  pal: ReportData['pal'];
}

/** What a started platform is made of. */
interface Platform {
  readonly options: Options;
  readonly state: State;
  readonly maker: Maker;
  readonly transport: TpmTransport;
  readonly tpm: Tpm;
  readonly log: MeasurementLog;
  readonly findings: Findings;
}

process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
  try {
    const options = parseOptions(args);
    if (options === 'help') {
      process.stdout.write(help);
      return 0;
    }
    return await runJob(options, new Progress(options.json));
  } catch (error) {
    process.stderr.write(`${explain(error)}\n`);
    return error instanceof UsageError ? 2 : 1;
  }
}

/** The list of the steps. Returns the exit status. */
async function runJob(options: Options, progress: Progress): Promise<number> {
  await using state = await openState(options.state);
  const maker = await makeAuthorities(progress, state);
  const store = await openGuestOsStore(state.guestOses);
  const guestOs = await buildImage(progress, options, store, maker, state);
  const counterImage = await linkCounter();
  const transport = await openTpm(options.tpm, state);
  await using tpm = new Tpm(transport);
  const device = await enrol(progress, tpm, maker, state);
  const policy = await writePolicy(state, maker, counterImage);
  const log = await openMeasurementLog(tpm, { store: state.log });
  const findings: Findings = { failures: [], passed: [], runLog: new RunLog(), container: undefined, pal: undefined };
  const platform = { options, state, maker, transport, tpm, log, findings };

  await runContainer(progress, platform, store, guestOs);
  const image = options.tamper === 'pal' ? await linkCounter(cheatingModule) : counterImage;
  await using trustvisor = await openTrustvisor({
    tpm: transport,
    engine: options.engine,
    store: directoryStore(state.pals),
  });
  const counter = await runPal(progress, platform, trustvisor, image);
  const verifier = await startVerifier(policy.anchors, policy.file);
  const guestOses = await measuredConfigurations(platform.log, store, state);
  const evidence = await collect(progress, platform, { device, guestOses, counter, nonce: verifier.nonce });
  const report = await judge(progress, evidence, (sent) => verifier.answer(sent));
  await writeReport(progress, platform, { device, evidence, report });
  progress.verdict(failedChecks(report));
  return report.trusted ? 0 : 3;
}

function makeAuthorities(progress: Progress, state: State): Promise<Maker> {
  return progress.step('PKI: the authorities of the maker', async (note) => {
    const maker = await openMaker(state.pki);
    for (const { name } of maker.hierarchy.authorities)
      note(`${maker.isNew ? 'made' : 'have'} ${name.replaceAll('-', ' ')}`);
    return maker;
  });
}

function buildImage(
  progress: Progress,
  options: Options,
  store: GuestOsStore,
  maker: Maker,
  state: State,
): Promise<BuiltGuestOs> {
  return progress.step('GuestOS: an image and its signed configuration', async (note) => {
    const built = await buildEdge(store, maker.hierarchy.get('software-signing'), options.rootfs, state.scratch);
    const { image } = built.config;
    note(`${EDGE.name} ${EDGE.version} from ${options.rootfs ?? 'busybox'}, ${(image.size / 1e6).toFixed(1)} MB`);
    note(`image sha256 ${image.sha256}`);
    if (built.skipped.length > 0) note(`left out: ${built.skipped.length} device nodes and sockets`);
    return built;
  });
}

function enrol(progress: Progress, tpm: Tpm, maker: Maker, state: State): Promise<Device> {
  return progress.step('Device: keys in the TPM, certificates from the maker', async (note) => {
    const device = await enrolDevice(tpm, maker, state);
    note(`endorsement key ${device.ekDigest.slice(0, 16)}…`);
    note(
      device.isNew
        ? 'attestation key bound to it by credential activation, device key certified beside it'
        : 'certificates of an earlier enrolment',
    );
    return device;
  });
}

async function runContainer(
  progress: Progress,
  platform: Platform,
  store: GuestOsStore,
  built: BuiltGuestOs,
): Promise<void> {
  const { options, maker, tpm, log, findings } = platform;
  const { runLog } = findings;
  const container = await progress.step('Verify, then measure', async (note) => {
    const attack = await tamperGuestOs(options.tamper, store);
    if (attack) note(`ATTACK: ${attack}`);
    const anchor = maker.hierarchy.get('software-signing').root;
    try {
      const started = await startEdge({ store, anchor, tpm, log, runLog, command: options.command });
      note('signature, chain, configuration and every byte of the image are right');
      note(`extended into PCR ${GUESTOS_PCR}, with an entry in the event log`);
      findings.passed.push('signature', 'config', 'image');
      return started;
    } catch (error) {
      const name = guestOsCheck(error);
      if (name === undefined) throw error;
      findings.failures.push({ name, detail: explain(error) });
      note(`refused: ${explain(error)}`);
      return undefined;
    }
  });
  await progress.step('Container', async (note) => {
    const { config } = built;
    const about = { name: config.name, version: String(config.version), imageDigest: config.image.sha256 };
    if (container === undefined) {
      note('not started: no instruction of it has run');
      return;
    }
    for (const record of runLog.records) {
      if (record.event === 'limits')
        note(`limits: ${record.memoryMax >> 20} MiB, ${record.pidsMax} processes, ${record.cpuMax / 1000} CPU`);
      if (record.event === 'insecure-missing-limit') note(`NOT enforced: ${record.limit}: ${record.reason}`);
    }
    const output = await follow(container, (line) => note(`| ${line}`));
    const exit = await container.wait();
    const outcome = exit.signal === null ? `exit ${exit.code}` : `ended by ${exit.signal}`;
    note(`${outcome}; nothing of it is left`);
    findings.container = { ...about, outcome, output };
  });
}

/** Which evidence a refused start blames; undefined where the machine is at fault. */
function guestOsCheck(error: unknown): CheckName | undefined {
  if (!(error instanceof ContainerError)) return undefined;
  const { code } = error;
  return code === 'signature' || code === 'certificate' || code === 'config' || code === 'image' ? code : undefined;
}

interface Counter {
  readonly pal: Pal;
  readonly output: Uint8Array;
}

function runPal(
  progress: Progress,
  platform: Platform,
  trustvisor: Trustvisor,
  image: Uint8Array,
): Promise<Counter | undefined> {
  const { options, state, findings } = platform;
  return progress.step('PAL: a counter that cannot be turned back', async (note) => {
    note(`linked, ${image.length} bytes, measurement ${hex(measurePal(image)).slice(0, 16)}…`);
    if (options.tamper === 'pal') note('ATTACK: changed the code of the PAL');
    const undo = await attackState(platform, trustvisor, image, note);
    try {
      const pal = await registerCounter(trustvisor, image, platform);
      note(`registered in an isolate (process ${trustvisor.pid}), identity key extended into PCR ${PAL_PCR}`);
      const { value, output } = await increment(trustvisor, pal);
      note(`the counter is ${value}`);
      findings.passed.push('sealed-state', 'replay');
      findings.pal = {
        name: pal.name,
        version: pal.version,
        measurement: hex(pal.measurement),
        counter: String(value),
      };
      return { pal, output };
    } catch (error) {
      if (!(error instanceof TrustvisorError && (error.code === 'sealed-state' || error.code === 'replay')))
        throw error;
      findings.failures.push({ name: error.code, detail: error.message });
      note(`refused: ${error.message}`);
      return undefined;
    } finally {
      if (undo) await restoreState(state.pals, undo);
    }
  });
}

/** Uses the PAL so that there is state, then damages it or puts an older copy back. Returns what is to be put back at the end. */
async function attackState(
  { options, state }: Platform,
  trustvisor: Trustvisor,
  image: Uint8Array,
  note: (text: string) => void,
) {
  if (options.tamper !== 'sealed-state' && options.tamper !== 'replay') return undefined;
  await useCounter(trustvisor, image);
  const older = await saveState(state.pals);
  await useCounter(trustvisor, image);
  const latest = await saveState(state.pals);
  if (options.tamper === 'replay') await restoreState(state.pals, older);
  else await damageState(state.pals);
  note(
    options.tamper === 'replay'
      ? 'ATTACK: put older sealed state back'
      : 'ATTACK: changed one byte of the sealed state',
  );
  return latest;
}

async function useCounter(trustvisor: Trustvisor, image: Uint8Array): Promise<void> {
  await using pal = await trustvisor.register(image);
  await increment(trustvisor, pal);
}

function collect(
  progress: Progress,
  platform: Platform,
  parts: {
    readonly device: Device;
    readonly guestOses: readonly GuestOsEvidence[];
    readonly counter: Counter | undefined;
    readonly nonce: Uint8Array;
  },
): Promise<Evidence> {
  const { tpm, log, findings, options } = platform;
  const { device, guestOses, counter, nonce } = parts;
  return progress.step('Evidence: a quote for the nonce of the verifier', async (note) => {
    const evidence = await device.withKeys(({ ak, deviceKey }) =>
      collectEvidence(tpm, {
        nonce,
        attestationKey: ak,
        akCertificates: device.akCertificates,
        device: { certificates: device.deviceCertificates, signer: tpmSigner(tpm, deviceKey) },
        log,
        guestOses,
        pals: counter ? [counter] : [],
        runRecord: findings.runLog.toText(),
        failures: findings.failures,
        passed: findings.passed,
        time: new Date(),
      }),
    );
    note(
      `nonce ${hex(nonce).slice(0, 16)}…, PCRs ${Object.keys(evidence.quote.pcrs.sha256 ?? {}).join(' and ')}, ${log.measurements.length} measurements`,
    );
    const sent = await tamperEvidence(options.tamper, evidence);
    if (sent !== evidence) note(`ATTACK: changed the ${options.tamper} on its way`);
    return sent;
  });
}

function judge(
  progress: Progress,
  evidence: Evidence,
  ask: (evidence: Evidence) => Promise<VerifierReport>,
): Promise<VerifierReport> {
  return progress.step('Verdict: a verifier with nothing but the roots and a policy', async (note) => {
    const report = await ask(evidence);
    const held = report.checks.filter(({ ok }) => ok).length;
    note(`${held} of ${report.checks.length} checks hold`);
    for (const { name, detail } of failedChecks(report)) note(`failed: ${name}: ${detail}`);
    return report;
  });
}

/** One line for each name that failed: the first of its checks that says why. */
function failedChecks({ failed, checks }: VerifierReport): readonly { name: string; detail: string }[] {
  return failed.map((name) => {
    const own = checks.filter((check) => check.name === name && !check.ok);
    const why = own.find(({ because }) => because === undefined) ?? own[0];
    return { name, detail: why?.detail ?? 'it was never checked' };
  });
}

/** What the maker gives to whoever judges its devices: the roots, and what may run on them. */
async function writePolicy(
  state: State,
  maker: Maker,
  counterImage: Uint8Array,
): Promise<{ anchors: string; file: string }> {
  const policy: Policy = {
    version: 1,
    requiredPcrs: { sha256: [GUESTOS_PCR, PAL_PCR] },
    guestOses: [{ name: EDGE.name, minimumVersion: EDGE.version }],
    guestOsRequired: true,
    pals: [{ name: COUNTER.name, measurements: [hex(measurePal(counterImage))], required: true }],
    requiredSelfChecks: ['image', 'config', 'signature', 'sealed-state', 'replay'],
    maximumAgeSeconds: 300,
    clockToleranceSeconds: 30,
    safeClockRequired: false,
  };
  const { hierarchy } = maker;
  const roots = ['software-signing-root', 'general-root'].map((name) =>
    encodePem('CERTIFICATE', hierarchy.get(name).certificate),
  );
  const anchors = join(state.verifier, 'roots.pem');
  const file = join(state.verifier, 'policy.json');
  await replaceFile(anchors, roots.join(''), 0o644);
  await replaceFile(file, encodePolicy(policy), 0o644);
  return { anchors, file };
}

async function writeReport(
  progress: Progress,
  platform: Platform,
  found: { readonly device: Device; readonly evidence: Evidence; readonly report: VerifierReport },
): Promise<void> {
  const { options, maker, findings, state } = platform;
  const html = renderReport({
    created: new Date(),
    tpm: options.tpm.kind,
    engine: options.engine,
    steps: progress.steps,
    checks: found.report.checks,
    failed: failedChecks(found.report),
    certificates: certificateRows(maker.hierarchy, found.device),
    pcrs: pcrRows(found.evidence),
    container: findings.container,
    pal: findings.pal,
  });
  const file = await writeWherePossible(html, [resolve('report.html'), join(state.path, 'report.html')]);
  progress.say(`report: ${file}`);
}

/** The current directory may belong to somebody else. */
async function writeWherePossible(html: string, [file, ...others]: readonly string[]): Promise<string> {
  if (file === undefined) throw new Error('the report could not be written');
  try {
    await writeFile(file, html);
    return file;
  } catch (error) {
    if (others.length === 0) throw error;
    return writeWherePossible(html, others);
  }
}

/** A message for a person, with what mends it where the error knows. */
function explain(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return 'remedy' in error && typeof error.remedy === 'string' ? `${error.message}; ${error.remedy}` : error.message;
}
