/**
 * A roll-out on one machine: devices enrol against one or several service processes, which are killed by SIGKILL meanwhile. Then
 * everything is checked: no serial number twice, no device lost, and an audit log that verifies and has every certificate once.
 */
import { type ChildProcess, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import {
  createCertificate,
  createHierarchy,
  deviceMakerTemplate,
  encodePem,
  generateKey,
  type Hierarchy,
  importKey,
  PROFILES,
  parseCertificate,
  validatePath,
} from '@casemate/pki';
import { openAuditLog, parseAuditEntry, verifyAuditLog } from '@casemate/pki/audit';
import { openStore } from '@casemate/pki/node';
import type { AuthorityStore, CertificateRecord } from '@casemate/pki/service';
import { type RunningPostgres, startPostgres } from '../test/postgres.js';
import { type DevicePlan, type DeviceReport, deviceUri, ORIGIN, onP256, type Plan, TLS_PROFILE } from './plan.js';

const { values } = parseArgs({
  options: {
    devices: { type: 'string', default: '10000' },
    store: { type: 'string', default: 'sqlite' },
    processes: { type: 'string', default: '1' },
    kills: { type: 'string', default: '10' },
    workers: { type: 'string', default: '2' },
    lanes: { type: 'string', default: '4' },
    json: { type: 'boolean', default: false },
  },
});
const devices = Number(values.devices);
const directory = mkdtempSync(join(tmpdir(), 'casemate-rollout-'));
const database = values.store === 'postgres' ? await startPostgres() : undefined;
const children = new Set<ChildProcess>();
const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');
try {
  await main();
} finally {
  for (const child of children) child.kill('SIGKILL');
  await database?.[Symbol.asyncDispose]();
  rmSync(directory, { recursive: true, force: true });
}

interface Service {
  child: ChildProcess;
  readonly port: number;
}

async function main(): Promise<void> {
  const { plan, hierarchy } = await prepare(database);
  const services: Service[] = [];
  for (let i = 0; i < Number(values.processes); i++) services.push(await startService(plan, 0));
  const reports: DeviceReport[] = [];
  const kills = Number(values.kills);
  let killed = 0;
  let restart: Promise<unknown> = Promise.resolve();
  const start = performance.now();
  const onReport = (report: DeviceReport): void => {
    reports.push(report);
    if (!values.json && reports.length % 1000 === 0) {
      console.log(`${reports.length} devices after ${((performance.now() - start) / 1000).toFixed(0)} s`);
    }
    // Spread over the whole run, in the middle of whatever the service does at that moment.
    if (killed < kills && reports.length >= ((killed + 1) * devices) / (kills + 1)) {
      const service = services[killed % services.length];
      killed += 1;
      if (service !== undefined) restart = restart.then(() => killAndRestart(plan, service));
    }
  };
  await Promise.all(workers(plan, services, onReport));
  const seconds = (performance.now() - start) / 1000;
  await restart;
  for (const { child } of services) await kill(child);
  print(reports, killed, seconds, await check(plan, hierarchy, reports));
}

async function prepare(server: RunningPostgres | undefined): Promise<{ plan: Plan; hierarchy: Hierarchy }> {
  const template = onP256(deviceMakerTemplate({ countryName: 'DE', organizationName: 'Maker' }));
  const hierarchy = await (await openStore(directory)).generate(template);
  const makers = await createHierarchy({
    ...{
      name: 'tpm-maker',
      subject: { countryName: 'DE', organizationName: 'Maker of TPMs' },
      algorithm: 'ecdsa-p256-sha256',
    },
    certificates: [
      {
        name: 'ek-root',
        commonName: 'EK Root CA',
        use: 'signs EK certificates',
        profile: { ...PROFILES.rootCa, ca: { pathLength: 0 } },
      },
    ],
  });
  const maker = makers.get('ek-root');
  const key = await generateKey('ecdsa-p256-sha256');
  const { issuer, chain, root } = hierarchy.get('device-ca');
  const subject = { countryName: 'DE', organizationName: 'Maker', commonName: 'enrolment service' };
  const subjectAltName = { dns: ['localhost'], ip: ['127.0.0.1'] };
  const certificate = await createCertificate({
    profile: TLS_PROFILE,
    subject,
    subjectAltName,
    publicKey: key.publicKey,
    issuer,
  });
  const plan: Plan = {
    directory,
    store:
      server === undefined
        ? { kind: 'sqlite', path: join(directory, 'authority.db') }
        : { kind: 'postgres', connection: server.connection },
    tls: {
      certificate: [certificate, ...chain].map((each) => encodePem('CERTIFICATE', each)).join(''),
      key: encodePem('PRIVATE KEY', await key.unsafeExportKey()),
      root: encodePem('CERTIFICATE', root),
    },
    auditKey: base64(await (await generateKey('ed25519')).unsafeExportKey()),
    maker: { certificate: base64(maker.certificate), key: base64(await maker.signer.unsafeExportKey()) },
  };
  return { plan, hierarchy };
}

async function startService(plan: Plan, port: number): Promise<Service> {
  const program = process.env.ROLLOUT_SERVICE ?? '';
  const child = spawn(process.execPath, [program, JSON.stringify(plan), String(port)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.add(child);
  child.once('exit', () => children.delete(child));
  for await (const line of createInterface(child.stdout)) {
    child.stdout.resume();
    return { child, port: Number(line) };
  }
  throw new Error('the service ended before it listened');
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}

async function killAndRestart(plan: Plan, service: Service): Promise<void> {
  await kill(service.child);
  service.child = (await startService(plan, service.port)).child;
}

function workers(plan: Plan, services: readonly Service[], onReport: (report: DeviceReport) => void): Promise<void>[] {
  const count = Number(values.workers);
  return Array.from({ length: count }, async (_, i) => {
    const first = Math.floor((i * devices) / count);
    const own: DevicePlan = {
      ...plan,
      services: services.map(({ port }) => `https://127.0.0.1:${port}`),
      first,
      count: Math.floor(((i + 1) * devices) / count) - first,
      lanes: Number(values.lanes),
    };
    const child = fork(process.env.ROLLOUT_DEVICES ?? '', [JSON.stringify(own)]);
    children.add(child);
    child.on('message', (report) => onReport(report as DeviceReport)); // rollout/devices.ts sends nothing else
    const [code] = await once(child, 'exit');
    children.delete(child);
    if (code !== 0) throw new Error(`a process of devices ended with ${code}`);
  });
}

interface Checked {
  readonly certificates: number;
  readonly entries: number;
}

/** Throws where anything is not as it must be. */
async function check(plan: Plan, hierarchy: Hierarchy, reports: readonly DeviceReport[]): Promise<Checked> {
  await using store = await openDatabase(plan);
  const kept = new Map<string, CertificateRecord>();
  for (let after: CertificateRecord | undefined; ; ) {
    const page = await store.certificates({ limit: 1000, ...(after && { after }) });
    for (const each of page) {
      const serial = parseCertificate(each.der).serialNumber.toString(16).padStart(40, '0');
      if (serial !== each.serial || kept.has(serial))
        throw new Error(`serial number ${serial} is there twice, or wrong`);
      kept.set(serial, each);
    }
    after = page.at(-1);
    if (after === undefined) break;
  }
  if (new Set(reports.map(({ device }) => device)).size !== devices) throw new Error('a device was lost');
  const { certificate, root } = hierarchy.get('device-ca');
  for (const { serials, device } of reports) {
    for (const serial of serials) if (!kept.has(serial)) throw new Error(`${serial} was answered and is not there`);
    const der = kept.get(serials[1])?.der ?? new Uint8Array();
    const purpose = { purpose: 'client-auth', time: new Date(), name: { uri: deviceUri(device) } } as const;
    const path = await validatePath(der, [certificate], [root], purpose);
    if (!path.ok) throw new Error(`device ${device}: ${path.problem.message}`);
  }
  return { certificates: kept.size, entries: await checkAudit(plan, store, kept) };
}

async function checkAudit(
  plan: Plan,
  store: AuthorityStore,
  kept: ReadonlyMap<string, CertificateRecord>,
): Promise<number> {
  const signer = await importKey(new Uint8Array(Buffer.from(plan.auditKey, 'base64')));
  const log = await openAuditLog({ store: store.audit, origin: ORIGIN, signer });
  await log.sign();
  const verified = await verifyAuditLog(store.audit, { origin: ORIGIN, publicKey: signer.publicKey });
  if (!verified.ok) throw new Error(verified.problem.message);
  const serials: unknown[] = [];
  for await (const entry of store.audit.read(0)) serials.push(parseAuditEntry(entry).fields.serial);
  const logged = new Set(serials);
  if (serials.length !== kept.size || logged.size !== kept.size || [...kept.keys()].some((each) => !logged.has(each))) {
    throw new Error(
      `the audit log has ${logged.size} serial numbers in ${serials.length} entries for ${kept.size} certificates`,
    );
  }
  return verified.size;
}

async function openDatabase({ store }: Plan): Promise<AuthorityStore> {
  if (store.kind === 'sqlite') return (await import('@casemate/pki/sqlite')).openSqliteStore(store.path);
  return (await import('@casemate/pki/postgres')).openPostgresStore({ connection: store.connection });
}

function print(reports: readonly DeviceReport[], killed: number, seconds: number, checked: Checked): void {
  const enrolments = reports.map(({ enrolment }) => enrolment).sort((a, b) => a - b);
  const requests = reports.flatMap((each) => each.requests).sort((a, b) => a - b);
  const at = (sorted: readonly number[], q: number): number =>
    Number((sorted[Math.floor((sorted.length - 1) * q)] ?? Number.NaN).toFixed(1));
  const retried = reports.filter(({ retries }) => retries > 0).length;
  const result = {
    store: values.store,
    processes: Number(values.processes),
    devices: reports.length,
    killed,
    seconds: Number(seconds.toFixed(1)),
    devicesPerSecond: Number((reports.length / seconds).toFixed(1)),
    enrolmentMs: { p50: at(enrolments, 0.5), p99: at(enrolments, 0.99), max: at(enrolments, 1) },
    requestMs: { p50: at(requests, 0.5), p99: at(requests, 0.99), max: at(requests, 1) },
    devicesThatRetried: retried,
    certificates: checked.certificates,
    auditEntries: checked.entries,
    load: loadavg().map((each) => Number(each.toFixed(1))),
  };
  if (values.json) {
    console.log(JSON.stringify(result));
    return;
  }
  console.log(result);
  console.log('no serial number twice, no device lost, every certificate in the audit log once, and the log verifies');
}
