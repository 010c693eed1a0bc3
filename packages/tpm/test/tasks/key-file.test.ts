/** TSS2 PRIVATE KEY files: the format offline, then loading, importing and unsealing against swtpm. */
import { createPublicKey, generateKeyPairSync, verify } from 'node:crypto';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  createKey,
  createPrimary,
  encodeKeyFile,
  encodeKeyFileDer,
  extendPcr,
  importObject,
  type KeyFile,
  keyFileAuthPolicy,
  keyFileCommands,
  keyFileParentTemplate,
  keyFilePolicy,
  loadKeyFile,
  type Policy,
  type PolicyElement,
  parseKeyFile,
  parsePrivateKey,
  persist,
  policyApproval,
  policyDigest,
  publicKeySpki,
  readPcrs,
  satisfyPolicy,
  seal,
  sealedTemplate,
  signingKeyTemplate,
  signWith,
  softwareKey,
  srkTemplate,
  startSession,
  TPM_CC,
  TPM_EO,
  TPM_RH,
  Tpm,
  type TpmtPublic,
  tpmSigner,
  unsealKeyFile,
  wrapForImport,
} from '../../src/index.js';
import { nodeCrypto } from '../../src/node-crypto.js';
import { connectSwtpm } from '../../src/swtpm.js';
import { describeWith, type SwtpmServer, startSwtpm } from '../client/swtpm-server.js';

const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const PUBLIC: TpmtPublic = { ...signingKeyTemplate('ecc-p256') };
const KEY: KeyFile = { type: 'loadable', emptyAuth: true, parent: TPM_RH.OWNER, public: PUBLIC, private: text('priv') };
const AUTHORITY = signingKeyTemplate('rsa-2048');

const bytes = (maxLength = 40) => fc.uint8Array({ minLength: 0, maxLength });
const commands = fc.array(fc.record({ commandCode: fc.integer({ min: 0, max: 0xffffffff }), commandPolicy: bytes() }), {
  maxLength: 5,
});
const keyFiles: fc.Arbitrary<KeyFile> = fc
  .record(
    {
      emptyAuth: fc.boolean(),
      policy: commands,
      authPolicy: fc.array(fc.record({ name: fc.string(), policy: commands }, { requiredKeys: ['policy'] }), {
        maxLength: 3,
      }),
      description: fc.string({ unit: 'grapheme' }),
      rsaParent: fc.constant(true),
      secret: bytes(256),
      parent: fc.oneof(fc.constant(TPM_RH.OWNER), fc.integer({ min: 0x81000000, max: 0x81ffffff })),
      private: bytes(300),
    },
    { requiredKeys: ['emptyAuth', 'parent', 'private'] },
  )
  .map((file) => ({ ...file, type: file.secret ? 'importable' : 'loadable', public: PUBLIC }) as KeyFile);

describe('a key file', () => {
  it('in PEM and in DER says what was put in', () => {
    fc.assert(
      fc.property(keyFiles, (file) => {
        expect(parseKeyFile(encodeKeyFile(file))).toEqual(file);
        const der = encodeKeyFileDer(file);
        expect(parseKeyFile(der)).toEqual(file);
        expect(encodeKeyFileDer(parseKeyFile(der))).toEqual(der);
      }),
    );
  });

  it('begins with the identifier of its type', () => {
    const hex = Buffer.from(encodeKeyFileDer(KEY)).toString('hex');
    expect(hex).toContain('060667810'.concat('50a0103'));
    expect(encodeKeyFile(KEY)).toMatch(
      /^-----BEGIN TSS2 PRIVATE KEY-----\n[A-Za-z0-9+/=\n]+-----END TSS2 PRIVATE KEY-----\n$/,
    );
  });

  it('cut off at any byte, with bytes behind it or of other bytes is refused with a typed error', () => {
    const file: KeyFile = {
      ...KEY,
      policy: [{ commandCode: TPM_CC.PolicyAuthValue, commandPolicy: new Uint8Array(0) }],
      description: 'a key',
      authPolicy: [{ name: 'x', policy: [] }],
    };
    const der = encodeKeyFileDer(file);
    const typed = expect.objectContaining({ name: expect.stringMatching(/^(TpmError|WireError)$/) });
    for (let length = 0; length < der.length; length++) expect(() => parseKeyFile(der.slice(0, length))).toThrow(typed);
    expect(() => parseKeyFile(Uint8Array.of(...der, 0))).toThrow(typed);
    expect(() => parseKeyFile(new Uint8Array(70_000))).toThrow(typed);
    const change = fc.tuple(fc.nat(der.length - 1), fc.integer({ min: 1, max: 255 }));
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), (changes) => {
        const mutated = der.slice();
        for (const [at, by] of changes) mutated[at] = (mutated[at] ?? 0) ^ by;
        try {
          encodeKeyFile(parseKeyFile(mutated));
        } catch (error) {
          expect(error).toEqual(typed);
        }
      }),
      { numRuns: 5000 },
    );
    fc.assert(fc.property(fc.uint8Array(), (any) => void expect(() => parseKeyFile(any)).toThrow(typed)));
    fc.assert(fc.property(fc.string(), (any) => void expect(() => parseKeyFile(any)).toThrow(typed)));
  });

  it('of other programs is read: 1 for true, 0 as the parent, text around it, CR LF', () => {
    const der = encodeKeyFileDer(KEY);
    const one = der.map((byte, i) => (byte === 0xff && der[i - 1] === 1 && der[i - 2] === 1 ? 1 : byte));
    expect(one).not.toEqual(der);
    expect(parseKeyFile(one)).toEqual(KEY);
    const pem = `some text\r\n${encodeKeyFile(KEY).replace(/\n/g, '\r\n')}more`;
    expect(parseKeyFile(pem)).toEqual(KEY);
    const at = Buffer.from(der).indexOf(Buffer.from('020440000001', 'hex'));
    const old = Uint8Array.of(...der.slice(0, at), 2, 1, 0, ...der.slice(at + 6));
    old[1] = (der[1] ?? 0) - 3;
    expect(parseKeyFile(old).parent).toBe(TPM_RH.OWNER);
  });

  it('is not written where the format forbids it', () => {
    const usage = expect.objectContaining({ code: 'usage' });
    expect(() => encodeKeyFile({ ...KEY, parent: 0x80000001 })).toThrow(usage);
    expect(() => encodeKeyFile({ ...KEY, type: 'importable' })).toThrow(usage);
    expect(() => encodeKeyFile({ ...KEY, secret: text('x') })).toThrow(usage);
    expect(() => encodeKeyFile({ ...KEY, type: 'sealed' })).toThrow(usage);
  });
});

describe('policies in key files', () => {
  const digest = new Uint8Array(32).fill(3);
  const elements: readonly PolicyElement[] = [
    { type: 'pcr-digest', pcrs: { sha256: [0, 7, 23], sha1: [1] }, digest },
    { type: 'auth-value' },
    { type: 'physical-presence' },
    { type: 'command-code', code: TPM_CC.Sign },
    { type: 'nv-written', written: true },
    { type: 'cp-hash', cpHash: digest },
    { type: 'name-hash', nameHash: digest },
    { type: 'template', templateHash: digest },
    { type: 'locality', locality: 4 },
    { type: 'duplication-select', objectName: digest, newParentName: digest, includeObject: true },
    { type: 'counter-timer', operand: new Uint8Array(8), offset: 8, operation: TPM_EO.UNSIGNED_GT },
    {
      type: 'secret',
      authority: { handle: TPM_RH.ENDORSEMENT, name: Uint8Array.of(0x40, 0, 0, 0x0b) },
      policyRef: text('ref'),
    },
    { type: 'authorize', authority: AUTHORITY, policyRef: text('ref') },
  ];

  it.each(elements.map((element) => [element.type, element] as const))(
    'keep the element %s, and its digest',
    (_, element) => {
      const policy = keyFilePolicy(parseKeyFile(encodeKeyFile({ ...KEY, policy: keyFileCommands([element]) })));
      expect(policy).toEqual([element]);
      expect(policyDigest(policy ?? [])).toEqual(policyDigest([element]));
    },
  );

  it('write PCR values as their digest, which says the same', () => {
    const element = { type: 'pcr', values: { sha256: { 7: digest, 1: new Uint8Array(32) }, sha1: {} } } as const;
    for (const hash of ['sha256', 'sha384'] as const) {
      const policy = keyFilePolicy({ ...KEY, policy: keyFileCommands([element], { hash }) });
      expect(policyDigest(policy ?? [], hash)).toEqual(policyDigest([element], hash));
    }
    // The layout of other implementations: digest, then selection.
    const [command] = keyFileCommands([{ type: 'pcr-digest', pcrs: { sha256: [16, 23] }, digest }]);
    expect(Buffer.from(command?.commandPolicy ?? []).toString('hex')).toBe(
      `0020${Buffer.from(digest).toString('hex')}00000001000b03000081`,
    );
  });

  it('have no form for what the draft leaves out', () => {
    const usage = expect.objectContaining({ code: 'usage' });
    expect(() => keyFileCommands([{ type: 'or', branches: [[], []] }])).toThrow(usage);
    expect(() => keyFileCommands([{ type: 'signed', authority: AUTHORITY }])).toThrow(usage);
    const unknown = { commandCode: TPM_CC.Sign, commandPolicy: new Uint8Array(0) };
    expect(() => keyFilePolicy({ ...KEY, policy: [unknown] })).toThrow(usage);
    const long = { commandCode: TPM_CC.PolicyAuthValue, commandPolicy: new Uint8Array(1) };
    expect(() => keyFilePolicy({ ...KEY, policy: [long] })).toThrow(usage);
    expect(keyFilePolicy(KEY)).toBeUndefined();
  });
});

describeWith(['swtpm'], 'key files with swtpm', () => {
  let server: SwtpmServer;
  let tpm: Tpm;
  beforeAll(async () => {
    server = await startSwtpm();
    tpm = new Tpm(await connectSwtpm(server), { crypto: nodeCrypto });
  });
  afterAll(async () => {
    await tpm?.close();
    await server?.stop();
  });

  const isSignedBy = async (key: Parameters<typeof tpmSigner>[1]): Promise<boolean> => {
    const signer = tpmSigner(tpm, key);
    const spki = createPublicKey({ key: Buffer.from(publicKeySpki(key.public)), format: 'der', type: 'spki' });
    return verify(signer.algorithm.split('-').at(-1), text('m'), spki, await signer.sign(text('m')));
  };

  it.each([
    ['the P-256 primary of the owner', TPM_RH.OWNER, false],
    ['the RSA primary of the owner', TPM_RH.OWNER, true],
    ['the P-256 primary of the endorsement hierarchy', TPM_RH.ENDORSEMENT, false],
    ['a persistent key', 0x81000042, false],
  ])('bring a key back under %s, and free the parent', async (_, handle, rsaParent) => {
    const hierarchy = handle === TPM_RH.ENDORSEMENT ? 'endorsement' : 'owner';
    const template = keyFileParentTemplate(rsaParent ? 'rsa-2048' : 'ecc-p256');
    const parent = await createPrimary(tpm, { template, hierarchy });
    if (handle >>> 24 === 0x81) await persist(tpm, parent, handle);
    const wrapped = await createKey(tpm, parent, { template: signingKeyTemplate('ecc-p256'), auth: 'key' });
    await parent.flush();
    const pem = encodeKeyFile({
      type: 'loadable',
      emptyAuth: false,
      parent: handle,
      ...(rsaParent && { rsaParent }),
      ...wrapped,
    });
    for (let i = 0; i < 5; i++) {
      await using key = await loadKeyFile(tpm, pem, { auth: 'key' });
      expect(await isSignedBy(key)).toBe(true);
    }
  });

  it('import a software key, and use it', async () => {
    await using parent = await createPrimary(tpm, { template: keyFileParentTemplate() });
    for (const pair of [
      generateKeyPairSync('rsa', { modulusLength: 2048 }),
      generateKeyPairSync('ec', { namedCurve: 'P-384' }),
    ]) {
      const software = parsePrivateKey(pair.privateKey.export({ format: 'pem', type: 'pkcs8' }) as string);
      const wrapped = wrapForImport(parent.public, softwareKey(software));
      const { encryptedSeed: secret, duplicate, public: area } = wrapped;
      const common = { emptyAuth: true, parent: TPM_RH.OWNER, public: area, private: duplicate };
      await using key = await loadKeyFile(tpm, encodeKeyFile({ type: 'importable', secret, ...common }));
      expect(await isSignedBy(key)).toBe(true);
      expect((await importObject(tpm, parent, wrapped)).public).toEqual(area);
    }
  });

  it('unseal data: with a value, under PCRs, and no longer when these change', async () => {
    await using parent = await createPrimary(tpm, { template: keyFileParentTemplate() });
    const plain = await seal(tpm, { parent, data: text('data'), auth: 'open' });
    const file = { type: 'sealed', emptyAuth: false, parent: TPM_RH.OWNER, ...plain } as const;
    expect(await unsealKeyFile(tpm, encodeKeyFile(file), { auth: 'open' })).toEqual(text('data'));
    await expect(unsealKeyFile(tpm, encodeKeyFile(file), { auth: 'no' })).rejects.toMatchObject({ code: 'response' });

    const policy: Policy = [{ type: 'pcr', values: await readPcrs(tpm, { sha256: [16] }) }];
    const sealed = await seal(tpm, { parent, data: text('more'), policy });
    const bound = encodeKeyFile({ ...file, emptyAuth: true, policy: keyFileCommands(policy), ...sealed });
    expect(await unsealKeyFile(tpm, bound)).toEqual(text('more'));
    await extendPcr(tpm, 16, { sha256: new Uint8Array(32).fill(1) });
    await expect(unsealKeyFile(tpm, bound)).rejects.toMatchObject({ code: 'response' });
    await expect(unsealKeyFile(tpm, KEY)).rejects.toMatchObject({ code: 'usage' });
  });

  it('follow a policy that a key approved after the object was made', async () => {
    await using authority = await createPrimary(tpm, { template: signingKeyTemplate('ecc-p256') });
    const approval = { type: 'authorize', authority: authority.public, policyRef: text('ref') } as const;
    await using parent = await createPrimary(tpm, { template: keyFileParentTemplate() });
    const template = sealedTemplate({ policy: policyDigest([approval]) });
    const wrapped = await createKey(tpm, parent, { template, sealed: text('data') });
    const policies: readonly Policy[] = [
      [{ type: 'pcr', values: { sha256: { 0: new Uint8Array(32).fill(9) } } }],
      [{ type: 'command-code', code: TPM_CC.Unseal }],
    ];
    const authPolicy = [];
    for (const [i, policy] of policies.entries()) {
      const signature = await signWith(tpm, authority, policyApproval(policy, { policyRef: text('ref') }));
      authPolicy.push(keyFileAuthPolicy({ ...approval, approved: { policy, signature } }, { name: `policy ${i}` }));
    }
    await parent.flush();
    await authority.flush();
    const common = { type: 'sealed', emptyAuth: true, parent: TPM_RH.OWNER, ...wrapped } as const;
    const pem = encodeKeyFile({ ...common, policy: keyFileCommands([approval]), authPolicy });
    const file = parseKeyFile(pem);
    await using owner = await createPrimary(tpm, { template: keyFileParentTemplate() });
    const { loadKey, Unseal } = await import('../../src/index.js');
    await using object = await loadKey(tpm, owner, file);
    const openWith = async (choice: number): Promise<Uint8Array> => {
      const policy = keyFilePolicy(file, { choose: (all) => all.findIndex(({ name }) => name === `policy ${choice}`) });
      await using session = await startSession(tpm, { type: 'policy' });
      await satisfyPolicy(tpm, session, policy ?? []);
      return (await tpm.execute(Unseal, { itemHandle: { ...object, auth: session } })).outData;
    };
    expect(await openWith(1)).toEqual(text('data'));
    await expect(openWith(0)).rejects.toMatchObject({ code: 'response' });
  });

  it('whose parent is another TPM are refused by the TPM', async () => {
    await using parent = await createPrimary(tpm, { template: srkTemplate('ecc-p256') });
    const wrapped = await createKey(tpm, parent, { template: signingKeyTemplate('ecc-p256') });
    await parent.flush();
    const file = encodeKeyFile({ type: 'loadable', emptyAuth: true, parent: TPM_RH.OWNER, ...wrapped });
    await expect(loadKeyFile(tpm, file)).rejects.toMatchObject({ response: { name: 'TPM_RC_INTEGRITY' } });
  });
});
