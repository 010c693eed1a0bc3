/** The services of a PAL as its thread performs them: as before, and with a status for whatever goes wrong. */
import { PAL_STATUS, type PalServiceName } from '@casemate/pal-linker';
import { describe, expect, it } from 'vitest';
import { ClassicTpm } from '../src/classic.js';
import { type HostCall, type HostServices, performHostCall } from '../src/host-services.js';
import { identityKeyCommand } from '../src/identity-key.js';
import { MicroTpm, microSeeds } from '../src/micro-tpm.js';
import { handOver, PalServices } from '../src/pal-services.js';
import { RsaKeys } from '../src/rsa-key.js';
import { deriveKey, deterministicRandom, SealingKeys } from '../src/seal.js';
import type { ServiceReply } from '../src/service-plan.js';
import { FREE_RUN, performService, type RunContext, type ServiceContext } from '../src/services.js';

const master = new Uint8Array(32).fill(0x11);
const measurement = new Uint8Array(32).fill(0x22);
const secret = new Uint8Array(32).fill(5);
const NONE = new Uint8Array(0);
const hex = (bytes: Uint8Array | undefined) => Buffer.from(bytes ?? NONE).toString('hex');

/** As a PAL's thread has them; what is asked of the main thread ends up in `asked`. */
async function open(overrides: Partial<ServiceContext> = {}): Promise<ServiceContext> {
  const micro = await MicroTpm.open({
    seeds: microSeeds(master, measurement),
    identityKey: identityKeyCommand(),
    measurement,
  });
  const keys = new SealingKeys(deriveKey(master, 'sealed data', new Uint8Array(32)));
  const signed = { signer: new Uint8Array(32).fill(9), securityVersion: 3 };
  return {
    sealer: { micro, keys, name: 'bench', signed },
    identity: micro.identity,
    hasRsaIdentity: false,
    classic: new ClassicTpm(new Uint8Array(20)),
    host: () => ({ status: PAL_STATUS.UNAVAILABLE, outputs: [] }),
    epoch: new Uint8Array(8),
    started: process.hrtime.bigint(),
    ...overrides,
  };
}

type Asked = readonly [name: PalServiceName, values: readonly number[], ...inputs: readonly Uint8Array[]];

function ask(context: ServiceContext, [name, values, ...inputs]: Asked, run: RunContext = FREE_RUN): ServiceReply {
  return performService({ name, values, inputs }, context, run);
}

function policy(kind: number, mask = 0): Uint8Array {
  const bytes = new Uint8Array(80);
  bytes[0] = kind;
  bytes[4] = mask;
  return bytes;
}

/** Sealed by this package at version 0.1.0, before it kept any keys, with the inputs above and salts from {@link salts}. */
const RECORDED = {
  self:
    '4353443101ce0e2fe11db4681b4e87109fe19898cd64522bb37dc6549f5b0a137b3bc148afce0e2fe11db4681b4e87109fe19898cd64522b' +
    'b37dc6549f5b0a137b3bc148afef955d9c6cfb5b08a582fd462c294cea28a08611f6a0494acc61fc1e33de72897faa65bf7045d1686c85b2' +
    '55863286c0187404037bdee5dec52dcfde702500e5c8c673f98e3735461ab51b0c1bdf7f37',
  mask3:
    '4353443103783d8562dc8c468b1d2cdec366d223b5c0abfbef2f099d859dc461b37ada6d9fce0e2fe11db4681b4e87109fe19898cd64522b' +
    'b37dc6549f5b0a137b3bc148af534eb3aa60e858df9cb1af7d9288f541d89cdda42f4fdc74743209a724c0f378f2b951665d05d15716d863' +
    'e068690795439b54c860cca668432131dd87e2c190c5f0cb990743deb7d2853daf587c3dc0',
  policySelf:
    '435344320000000001ce0e2fe11db4681b4e87109fe19898cd64522bb37dc6549f5b0a137b3bc148af000000000000000300000000000000' +
    '00000000000000000000000000000000000000000000000000ce0e2fe11db4681b4e87109fe19898cd64522bb37dc6549f5b0a137b3bc148' +
    'afd62bd9954b7aa85d43a2c9dff1ec4df14ad16c0620681d49a4111e852fe251f4f3e1cbee43f7300a1ae82d3ec49028bab58dccfe80337d' +
    'c298915dfbab74b7570ae1564773b6ca499c283b91a047bd16',
  policySigner:
    '4353443200000004000909090909090909090909090909090909090909090909090909090909090909000000000000000300000000000000' +
    '00000000000000000000000000000000000000000000000000ce0e2fe11db4681b4e87109fe19898cd64522bb37dc6549f5b0a137b3bc148' +
    'af90d8ee4224ecbe9b76877df363ac56117f9df8cb51eea906167d6cfecf047cd1d0a161adb6d5dd2fa23ee2173fbfc4a2ed6b227c7c79d6' +
    '5a77c240b06184040e3c3a7763a3255661d105cc1a83325479',
} as const;
const salts = (): RunContext => ({ random: deterministicRandom(master, measurement), deterministic: false });

const SEALED: Readonly<Record<keyof typeof RECORDED, Asked>> = {
  self: ['utpm_seal', [], secret, NONE],
  mask3: ['utpm_seal', [], secret, Uint8Array.of(3, 0, 0, 0)],
  policySelf: ['seal_data', [], policy(0), secret, NONE],
  policySigner: ['seal_data', [], policy(4), secret, Uint8Array.of(1, 2)],
};

describe('sealing', () => {
  it('gives the bytes that it has always given', async () => {
    const context = await open();
    const run = salts();
    for (const [name, asked] of Object.entries(SEALED)) {
      const { status, outputs } = ask(context, asked, run);
      expect([name, status, hex(outputs[0])]).toEqual([
        name,
        PAL_STATUS.SUCCESS,
        RECORDED[name as keyof typeof RECORDED],
      ]);
    }
  });

  it('opens blobs that were made before', async () => {
    const context = await open();
    for (const name of ['self', 'mask3'] as const) {
      const { outputs } = ask(context, ['utpm_unseal', [], Buffer.from(RECORDED[name], 'hex')]);
      expect(outputs[0]).toEqual(secret);
    }
    const own = ask(context, ['unseal_data', [], Buffer.from(RECORDED.policySelf, 'hex'), NONE]);
    expect(own.outputs[0]).toEqual(secret);
    const signers = Buffer.from(RECORDED.policySigner, 'hex');
    expect(ask(context, ['unseal_data', [], signers, Uint8Array.of(1, 2)]).outputs[0]).toEqual(secret);
    expect(ask(context, ['unseal_data', [], signers, Uint8Array.of(1, 3)]).status).toBe(PAL_STATUS.REFUSED);
  });

  it('is refused once a uPCR of the policy was extended, and comes back with a new micro-TPM', async () => {
    const context = await open();
    const blob = Buffer.from(RECORDED.mask3, 'hex');
    expect(ask(context, ['utpm_unseal', [], blob]).status).toBe(PAL_STATUS.SUCCESS);
    expect(ask(context, ['utpm_pcr_extend', [1], secret]).status).toBe(PAL_STATUS.SUCCESS);
    expect(ask(context, ['utpm_unseal', [], blob]).status).toBe(PAL_STATUS.REFUSED);
    expect(ask(context, ['utpm_unseal', [], Buffer.from(RECORDED.self, 'hex')]).status).toBe(PAL_STATUS.SUCCESS);
    await context.sealer.micro.reset();
    expect(ask(context, ['utpm_unseal', [], blob]).status).toBe(PAL_STATUS.SUCCESS);
  });
});

describe('a service', () => {
  const QUICK: readonly Asked[] = [
    ['utpm_pcr_read', [0]],
    ['utpm_pcr_extend', [7], secret],
    ['utpm_rand', [100]],
    ['utpm_id_getpub', []],
    ['time_elapsed', []],
    ...Object.values(SEALED),
    ['tv_pcr_read', [0]],
    ['tv_pcr_extend', [1], new Uint8Array(20)],
    ['tv_seal', [], secret, NONE],
  ];

  it('is answered in the thread of the PAL where it waits for nothing', async () => {
    const host: HostServices = ({ kind }) => {
      throw new Error(`asked for ${kind}`);
    };
    const context = await open({ host });
    for (const asked of QUICK) expect([asked[0], ask(context, asked).status]).toEqual([asked[0], PAL_STATUS.SUCCESS]);
    await context.sealer.micro.close();
  });

  it('leaves to the main thread what waits for a store, for the TPM or for a key that is made', async () => {
    const calls: HostCall[] = [];
    const host: HostServices = (call) => {
      calls.push(call);
      return { status: PAL_STATUS.SUCCESS, outputs: [Uint8Array.of(7)] };
    };
    const context = await open({ host, hasRsaIdentity: true });
    for (const name of ['counter_read', 'counter_increment', 'tpmnvram_getsize', 'tpmnvram_readall'] as const) {
      expect(ask(context, [name, []]).outputs).toEqual([Uint8Array.of(7)]);
    }
    expect(ask(context, ['tv_id_getpub', []]).outputs).toEqual([Uint8Array.of(7)]);
    expect(ask(context, ['tv_quote', [], Uint8Array.of(1, 0, 1), new Uint8Array(20)]).outputs).toHaveLength(2);
    expect(ask(context, ['utpm_quote', [1], secret]).outputs).toEqual([Uint8Array.of(7)]);
    expect(calls.map(({ kind }) => kind)).toEqual([
      ...['nv', 'nv', 'nv', 'nv'],
      ...['classic-public', 'classic-sign', 'rsa-quote'],
    ]);
  });

  it('that fails ends as a status, in the main thread too', async () => {
    const context = await open();
    await context.sealer.micro.close();
    expect(ask(context, ['utpm_pcr_extend', [1], secret]).status).toBe(PAL_STATUS.ERR);
    expect(ask(context, ['utpm_quote', [1], secret]).status).toBe(PAL_STATUS.ERR);
    const late = async () => {
      throw new Error('broken');
    };
    const store = { get: async () => secret, put: late, delete: late };
    const rsaKeys = new RsaKeys({ master, store, owner: measurement, random: FREE_RUN.random });
    const call = { name: 'counter_increment', values: [], inputs: [] } as const;
    const broken = { nv: { read: late, write: late }, rsaKeys, rsa: undefined };
    const statuses = [
      performHostCall({ kind: 'nv', call }, broken),
      performHostCall({ kind: 'nv', call }, { ...broken, nv: undefined }),
      performHostCall({ kind: 'rsa-quote', quoted: secret }, broken),
      performHostCall({ kind: 'classic-public' }, broken),
    ];
    expect((await Promise.all(statuses)).map(({ status }) => status)).toEqual([
      PAL_STATUS.ERR,
      PAL_STATUS.UNAVAILABLE,
      PAL_STATUS.UNAVAILABLE,
      PAL_STATUS.REFUSED, // what the store holds is no key
    ]);
  });

  it('that finds the stack used up is not gone on with before a reset', async () => {
    const secrets = {
      sealing: deriveKey(master, 'sealed data', new Uint8Array(32)),
      ...microSeeds(master, measurement),
    };
    const services = await PalServices.open(
      {
        ...{
          secrets: handOver(secrets),
          identityKey: identityKeyCommand(),
          name: 'deep',
          measurement,
          classicMeasurement: new Uint8Array(20),
        },
        ...{ signed: undefined, rsaIdentity: undefined, epoch: new Uint8Array(8), started: 0n },
      },
      () => ({ status: PAL_STATUS.UNAVAILABLE, outputs: [] }),
    );
    const extend = { name: 'utpm_pcr_extend', values: [1], inputs: [secret] } as const;
    const seal = { name: 'utpm_seal', values: [], inputs: [secret, NONE] } as const;
    const recurse = (): ServiceReply => {
      try {
        return recurse();
      } catch {
        return services.perform(extend); // with nearly nothing left
      }
    };
    // How much is left depends on how deep it began: each argument is eight bytes.
    const deeper = (..._arguments: readonly number[]) => recurse();
    for (let words = 0; words < 200 && !services.isBroken; words++) deeper(...Array<number>(words));
    expect(services.isBroken).toBe(true);
    expect(services.perform(seal).status).toBe(PAL_STATUS.ERR);
    await services.reset(undefined);
    expect(services.isBroken).toBe(false);
    expect(services.perform({ name: 'utpm_pcr_read', values: [1], inputs: [] }).outputs).toEqual([new Uint8Array(32)]);
    expect(services.perform(seal).status).toBe(PAL_STATUS.SUCCESS);
    await services.wipe();
  });

  it('refuses what is out of range: uPCRs, masks, policies, damaged blobs', async () => {
    const context = await open();
    const refused: readonly (readonly [Asked, number])[] = [
      [['utpm_pcr_read', [8]], PAL_STATUS.PCR_OUT_OF_RANGE],
      [['utpm_pcr_extend', [8], secret], PAL_STATUS.PCR_OUT_OF_RANGE],
      [['utpm_quote', [0], secret], PAL_STATUS.PCR_OUT_OF_RANGE],
      [['utpm_quote', [256], secret], PAL_STATUS.PCR_OUT_OF_RANGE],
      [['utpm_quote', [1], new Uint8Array(65)], PAL_STATUS.ERR],
      [['utpm_seal', [], secret, new Uint8Array(5)], PAL_STATUS.BAD_PARAM],
      [['utpm_seal', [], secret, new Uint8Array(4)], PAL_STATUS.PCR_OUT_OF_RANGE],
      [['utpm_unseal', [], secret], PAL_STATUS.REFUSED],
      [['utpm_unseal', [], NONE], PAL_STATUS.REFUSED],
      [['seal_data', [], policy(5), secret, NONE], PAL_STATUS.BAD_PARAM],
      [['seal_data', [], policy(1), secret, NONE], PAL_STATUS.PCR_OUT_OF_RANGE],
      [['print', [], secret], PAL_STATUS.UNAVAILABLE],
    ];
    for (const [asked, status] of refused) expect([asked[0], ask(context, asked).status]).toEqual([asked[0], status]);
  });
});
