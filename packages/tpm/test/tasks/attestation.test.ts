/** Signed statements of swtpm and their offline checks: each kind, each problem, each hash and scheme. */
import { decode } from '@casemate/wire';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  akTemplate,
  attestCommands,
  attestSession,
  attestTime,
  certify,
  certifyCreation,
  createKey,
  createPrimary,
  extendAudit,
  extendPcr,
  GetRandom,
  type Hierarchy,
  loadKey,
  nobleCrypto,
  nvCertify,
  nvDefine,
  nvUndefine,
  nvWrite,
  PCR_BANKS,
  type PcrBank,
  qualifiedNameOf,
  quote,
  ReadClock,
  ReadPublic,
  readPcrs,
  SetCommandCodeAuditStatus,
  type StatementProblem,
  signingKeyTemplate,
  srkTemplate,
  startSession,
  TPM_ALG,
  TPM_CC,
  TPM_RH,
  TPM_ST,
  Tpm,
  TpmsAttest,
  type TpmtPublic,
  verifyCertify,
  verifyCommandAudit,
  verifyCreation,
  verifyNvCertify,
  verifyQuote,
  verifySessionAudit,
  verifyTime,
} from '../../src/index.js';
import { nodeCrypto } from '../../src/node-crypto.js';
import { connectSwtpm } from '../../src/swtpm.js';
import { describeWith, type SwtpmServer, startSwtpm } from '../client/swtpm-server.js';

const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const NONCE = text('a nonce of the verifier');

/** An attestation key's template with another scheme and hash. */
function akWith(
  kind: 'rsa-2048' | 'rsa-3072' | 'ecc-p256' | 'ecc-p384' | 'ecc-p521',
  scheme: number,
  hash: PcrBank,
): TpmtPublic {
  const template = akTemplate(kind);
  const parameters = { ...template.parameters, scheme: { scheme, details: { hashAlg: PCR_BANKS[hash] } } };
  return { ...template, parameters } as TpmtPublic; // only scheme and hash differ
}

const SCHEMES = [
  ...(['sha1', 'sha256', 'sha384', 'sha512'] as const).flatMap((hash) => [
    ['rsa-2048', TPM_ALG.RSASSA, hash] as const,
    ['rsa-2048', TPM_ALG.RSAPSS, hash] as const,
    ['ecc-p256', TPM_ALG.ECDSA, hash] as const,
  ]),
  ['rsa-3072', TPM_ALG.RSAPSS, 'sha384'] as const,
  ['ecc-p384', TPM_ALG.ECDSA, 'sha384'] as const,
  ['ecc-p384', TPM_ALG.ECDSA, 'sha256'] as const,
  ['ecc-p521', TPM_ALG.ECDSA, 'sha512'] as const,
];

describeWith(['swtpm'], 'statements of swtpm', () => {
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

  const newAk = (hierarchy: Hierarchy = 'endorsement') =>
    createPrimary(tpm, { template: akTemplate('ecc-p256'), hierarchy });
  const problem = (checked: { ok: boolean; problem?: StatementProblem }): StatementProblem | undefined =>
    checked.ok ? undefined : checked.problem;

  describe('quotes', () => {
    it.each(SCHEMES)(
      'by a key of %s with scheme 0x%i and %s are verified offline by both providers',
      async (kind, scheme, hash) => {
        await using ak = await createPrimary(tpm, { template: akWith(kind, scheme, hash), hierarchy: 'endorsement' });
        const made = await quote(tpm, ak, { nonce: NONCE, pcrs: { sha256: [0, 7, 16], sha512: [3], sha1: [] } });
        const input = { signer: ak.public, attest: made.quoted, signature: made.signature, nonce: NONCE };
        for (const crypto of [nodeCrypto, nobleCrypto]) {
          expect(verifyQuote({ ...input, pcrs: made.pcrs }, crypto)).toMatchObject({ ok: true });
        }
      },
      120_000,
    );

    it('that differ in anything are refused with the reason', async () => {
      await using ak = await newAk();
      await using other = await createPrimary(tpm, { template: akTemplate('ecc-p384'), hierarchy: 'endorsement' });
      const made = await quote(tpm, ak, { nonce: NONCE, pcrs: { sha256: [0, 16], sha1: [2] } });
      const signer = ak.public;
      const { pcrs } = made;
      const input = { signer, attest: made.quoted, signature: made.signature, nonce: NONCE, pcrs };
      const { clockInfo, firmwareVersion, qualifiedSigner } = decode(TpmsAttest, made.quoted);
      expect(qualifiedSigner).toEqual(qualifiedNameOf('endorsement', ak.public));
      const { clock: notBefore, resetCount, restartCount } = clockInfo;
      const clock = { notBefore, resetCount, restartCount };
      const strict = { ...input, clock, firmwareVersion, qualifiedSigner };
      expect(verifyQuote(strict)).toMatchObject({ ok: true, statement: { type: TPM_ST.ATTEST_QUOTE } });

      const with16 = (value: Uint8Array) => ({ ...pcrs, sha256: { ...pcrs.sha256, 16: value } });
      const cases: readonly [Partial<Parameters<typeof verifyQuote>[0]>, StatementProblem][] = [
        [{ signer: other.public }, 'signature'],
        [{ signer: signingKeyTemplate('ecc-p256') }, 'signer'],
        [{ attest: made.quoted.map((byte, i) => (i === 30 ? byte ^ 1 : byte)) }, 'signature'],
        [{ attest: new Uint8Array(0) }, 'signature'],
        [{ signature: made.signature.slice(0, 20) }, 'malformed'],
        [{ signature: new Uint8Array(0) }, 'malformed'],
        [{ nonce: text('another') }, 'nonce'],
        [{ pcrs: with16(new Uint8Array(32).fill(1)) }, 'pcr-digest'],
        [{ pcrs: { sha256: pcrs.sha256 ?? {} } }, 'pcr-selection'],
        [{ pcrs: { ...pcrs, sha512: { 1: new Uint8Array(64) } } }, 'pcr-selection'],
        [{ pcrs: {} }, 'pcr-selection'],
        [{ firmwareVersion: firmwareVersion + 1n }, 'firmware'],
        [{ qualifiedSigner: qualifiedNameOf('owner', ak.public) }, 'signer'],
        [{ clock: { notBefore: notBefore + 1n } }, 'clock'],
        [{ clock: { resetCount: resetCount + 1 } }, 'clock'],
        [{ clock: { restartCount: restartCount + 1 } }, 'clock'],
      ];
      for (const [change, expected] of cases)
        expect([expected, problem(verifyQuote({ ...strict, ...change }))]).toEqual([expected, expected]);
      expect(problem(verifyCertify({ ...input, name: ak.name }))).toBe('type');
    });

    it('of mutated bytes are refused and never throw', async () => {
      await using ak = await newAk();
      const made = await quote(tpm, ak, { nonce: NONCE, pcrs: { sha256: [0] } });
      const input = { signer: ak.public, nonce: NONCE, pcrs: made.pcrs };
      const mutated = (bytes: Uint8Array) =>
        fc
          .array(fc.tuple(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 })), { minLength: 1, maxLength: 3 })
          .map((changes) =>
            changes.reduce((all, [at, by]) => all.map((byte, i) => (i === at ? byte ^ by : byte)), bytes),
          );
      fc.assert(
        fc.property(mutated(made.quoted), mutated(made.signature), (attest, signature) => {
          const isSame = Buffer.compare(attest, made.quoted) === 0;
          expect(verifyQuote({ ...input, attest, signature: made.signature }, nodeCrypto).ok).toBe(isSame);
          const check = verifyQuote({ ...input, attest: made.quoted, signature }, nodeCrypto);
          if (check.ok) expect(Buffer.compare(signature, made.signature)).toBe(0);
        }),
      );
      for (let length = 0; length < made.signature.length; length++) {
        expect(verifyQuote({ ...input, attest: made.quoted, signature: made.signature.slice(0, length) }).ok).toBe(
          false,
        );
      }
    });

    it('signed by a key that signs anything are believed only where the caller asks for it', async () => {
      await using key = await createPrimary(tpm, { template: signingKeyTemplate('ecc-p256') });
      const made = await quote(tpm, key, { nonce: NONCE, pcrs: { sha256: [0] } });
      const input = {
        signer: key.public,
        attest: made.quoted,
        signature: made.signature,
        nonce: NONCE,
        pcrs: made.pcrs,
      };
      expect(problem(verifyQuote(input))).toBe('signer');
      expect(verifyQuote({ ...input, insecureAllowUnrestricted: true }).ok).toBe(true);
    });

    it('of PCRs that have changed since differ from the values read then', async () => {
      await using ak = await newAk();
      const before = await readPcrs(tpm, { sha256: [16] });
      await extendPcr(tpm, 16, { sha256: new Uint8Array(32).fill(5) });
      const { quoted: attest, signature, pcrs } = await quote(tpm, ak, { nonce: NONCE, pcrs: { sha256: [16] } });
      const input = { signer: ak.public, attest, signature, nonce: NONCE };
      expect(problem(verifyQuote({ ...input, pcrs: before }))).toBe('pcr-digest');
      expect(verifyQuote({ ...input, pcrs }).ok).toBe(true);
    });
  });

  describe('certifications', () => {
    it('say which object is loaded, and under which parents', async () => {
      await using ak = await newAk();
      await using srk = await createPrimary(tpm, { template: srkTemplate('ecc-p256') });
      const created = await createKey(tpm, srk, { template: signingKeyTemplate('ecc-p256') });
      await using key = await loadKey(tpm, srk, created);
      const { certified: attest, signature } = await certify(tpm, { object: key, signer: ak, nonce: NONCE });
      const qualifiedName = qualifiedNameOf(qualifiedNameOf('owner', srk.public), key.public);
      const { qualifiedName: theirs } = await tpm.execute(ReadPublic, { objectHandle: key });
      expect(qualifiedName).toEqual(theirs);
      const input = { signer: ak.public, attest, signature, nonce: NONCE, name: key.name };
      expect(verifyCertify({ ...input, qualifiedName })).toMatchObject({ ok: true });
      expect(problem(verifyCertify({ ...input, name: srk.name }))).toBe('name');
      expect(problem(verifyCertify({ ...input, qualifiedName: theirs.map((byte) => byte ^ 1) }))).toBe('name');
    });

    it('say that the TPM made an object, with what data and at which PCRs', async () => {
      await using ak = await newAk();
      await using srk = await createPrimary(tpm, { template: srkTemplate('ecc-p256') });
      const request = { outsideInfo: text('order 66'), creationPcrs: { sha256: [0, 1] } };
      const created = await createKey(tpm, srk, { template: signingKeyTemplate('ecc-p256'), ...request });
      await using key = await loadKey(tpm, srk, created);
      const { creation } = created;
      const { attest, signature } = await certifyCreation(tpm, { object: key, creation, signer: ak, nonce: NONCE });
      const input = { signer: ak.public, attest, signature, nonce: NONCE, name: key.name };
      expect(verifyCreation({ ...input, creationData: creation.data })).toMatchObject({ ok: true });
      expect(problem(verifyCreation({ ...input, creationData: srk.creation.data }))).toBe('contents');
      expect(problem(verifyCreation({ ...input, name: srk.name, creationData: creation.data }))).toBe('name');
      const { TpmsCreationData } = await import('../../src/index.js');
      expect(decode(TpmsCreationData, creation.data)).toMatchObject({
        outsideInfo: text('order 66'),
        parentName: srk.name,
      });
      const wrong = certifyCreation(tpm, { object: key, creation: srk.creation, signer: ak, nonce: NONCE });
      await expect(wrong).rejects.toMatchObject({ response: { name: 'TPM_RC_TICKET' } });
      const primary = { object: srk, creation: srk.creation, signer: ak, nonce: NONCE };
      expect((await certifyCreation(tpm, primary)).attest).toBeInstanceOf(Uint8Array);
    });

    it('say what NV indexes hold, whole, in part and by digest', async () => {
      await using ak = await newAk();
      for (const size of [8, 1000, 1800]) {
        const index = await nvDefine(tpm, { index: 0x01800040, size });
        const contents = nodeCrypto.random(size);
        await nvWrite(tpm, index, contents);
        const { attest, signature } = await nvCertify(tpm, { index, signer: ak, nonce: NONCE });
        const input = { signer: ak.public, attest, signature, nonce: NONCE, name: index.name };
        const type = size > 1024 ? TPM_ST.ATTEST_NV_DIGEST : TPM_ST.ATTEST_NV;
        expect(verifyNvCertify({ ...input, contents })).toMatchObject({ ok: true, statement: { type } });
        expect(problem(verifyNvCertify({ ...input, contents: contents.map((byte) => byte ^ 1) }))).toBe('contents');
        expect(problem(verifyNvCertify({ ...input, name: ak.name, contents }))).toBe('name');
        const part = await nvCertify(tpm, { index, signer: ak, nonce: NONCE, offset: 2, size: 4 });
        const about = { ...input, ...part, contents: contents.slice(2, 6) };
        expect(verifyNvCertify({ ...about, offset: 2 })).toMatchObject({ ok: true });
        expect(problem(verifyNvCertify(about))).toBe('contents');
        await nvUndefine(tpm, index);
      }
    });

    it('say the time', async () => {
      await using ak = await newAk();
      const { attest, signature } = await attestTime(tpm, { signer: ak, nonce: NONCE });
      const checked = verifyTime({ signer: ak.public, attest, signature, nonce: NONCE });
      if (!checked.ok) throw new Error(checked.message);
      const { currentTime } = await tpm.execute(ReadClock, {});
      expect(currentTime.time - checked.statement.attested.time.time).toBeLessThan(60_000n);
      expect(currentTime.clockInfo.clock).toBeGreaterThanOrEqual(checked.statement.attested.time.clockInfo.clock);
    });
  });

  describe('audits', () => {
    it('of a session list exactly the commands that ran under it', async () => {
      await using ak = await newAk();
      await using session = await startSession(tpm, { type: 'hmac' });
      const sessions = [session.use({ audit: true })];
      const request = { bytesRequested: 16 };
      const first = await tpm.execute(GetRandom, request, { sessions });
      const publicRequest = { objectHandle: ak };
      const second = await tpm.execute(ReadPublic, publicRequest, { sessions });
      const digest = extendAudit([
        { command: GetRandom, request, response: first },
        { command: ReadPublic, request: publicRequest, response: second },
      ]);
      const { attest, signature } = await attestSession(tpm, { signer: ak, nonce: NONCE, session });
      const input = { signer: ak.public, attest, signature, nonce: NONCE };
      expect(verifySessionAudit({ ...input, digest, exclusive: true })).toMatchObject({ ok: true });
      const less = extendAudit([{ command: GetRandom, request, response: first }]);
      expect(problem(verifySessionAudit({ ...input, digest: less }))).toBe('contents');
      const again = await attestSession(tpm, { signer: ak, nonce: NONCE, session });
      expect(problem(verifySessionAudit({ ...input, ...again, digest, exclusive: true }))).toBe('contents');
      expect(verifySessionAudit({ ...input, ...again, digest }).ok).toBe(true);
    });

    it('of commands list those that were marked, since the last time', async () => {
      await using ak = await newAk();
      const status = { auditAlg: TPM_ALG.NULL, setList: [TPM_CC.GetRandom], clearList: [] } as const;
      await tpm.execute(SetCommandCodeAuditStatus, { auth: TPM_RH.OWNER, ...status });
      const algorithm = { auditAlg: TPM_ALG.SHA256, setList: [], clearList: [] } as const;
      await tpm.execute(SetCommandCodeAuditStatus, { auth: TPM_RH.OWNER, ...algorithm });
      await attestCommands(tpm, { signer: ak, nonce: NONCE });
      const audited = [];
      for (const bytesRequested of [3, 20]) {
        const response = await tpm.execute(GetRandom, { bytesRequested });
        audited.push({ command: GetRandom, request: { bytesRequested }, response });
      }
      const { attest, signature } = await attestCommands(tpm, { signer: ak, nonce: NONCE });
      const input = { signer: ak.public, attest, signature, nonce: NONCE };
      const checked = verifyCommandAudit({ ...input, digest: extendAudit(audited) });
      expect(checked).toMatchObject({ ok: true });
      expect(problem(verifyCommandAudit({ ...input, digest: new Uint8Array(32) }))).toBe('contents');
    });
  });
});

describe('qualified Names', () => {
  it('depend on every step of the way', () => {
    const [a, b] = [srkTemplate('ecc-p256'), akTemplate('ecc-p256')];
    const names = [
      qualifiedNameOf('owner', b),
      qualifiedNameOf('null', b),
      qualifiedNameOf(qualifiedNameOf('owner', a), b),
    ].map((name) => Buffer.from(name).toString('hex'));
    expect(new Set(names).size).toBe(3);
  });
});
