/** Quotes, certifications, credentials and sealed data shared with tpm2-tools, both ways, by RSA and ECC keys, on one swtpm. */
import { encode } from '@casemate/wire';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  activateCredential,
  akTemplate,
  createEk,
  createPrimary,
  encodeCredentialFile,
  encodeKeyFiles,
  makeCredential,
  nvDefine,
  nvWrite,
  openNv,
  openObject,
  orderedPcrValues,
  type Policy,
  parseCredentialFile,
  parseKeyFiles,
  pcrIndexesOf,
  persist,
  quote,
  readPcrs,
  seal,
  srkTemplate,
  Tpm2bPublic,
  unseal,
  verifyCertify,
  verifyCreation,
  verifyNvCertify,
  verifyQuote,
  verifySessionAudit,
  verifyTime,
} from '../../src/index.js';
import { describeWith } from '../client/swtpm-server.js';
import { type Bench, hex, startBench, text } from './bench.js';

const AKS = { rsa: 0x81000031, ecc: 0x81000032 } as const;
const SRKS = { rsa: 0x81000033, ecc: 0x81000034 } as const;
const NONCE = text('a nonce of the verifier');

describe('the credential file', () => {
  it('says what was put in, and is refused when it is cut off or begins otherwise', () => {
    const bytes = (maxLength: number) => fc.uint8Array({ maxLength });
    fc.assert(
      fc.property(bytes(100), bytes(256), (credentialBlob, encryptedSecret) => {
        const file = encodeCredentialFile({ credentialBlob, encryptedSecret });
        expect(parseCredentialFile(file)).toEqual({ credentialBlob, encryptedSecret });
        for (let length = 0; length < file.length; length++) {
          expect(() => parseCredentialFile(file.slice(0, length))).toThrow();
        }
      }),
      { numRuns: 20 },
    );
    const file = encodeCredentialFile({ credentialBlob: text('x'), encryptedSecret: text('y') });
    expect(() => parseCredentialFile(file.map((byte, i) => (i === 7 ? 2 : byte)))).toThrow(
      expect.objectContaining({ code: 'decode' }),
    );
  });
});

describeWith(['swtpm', 'tpm2_quote', 'tpm2_checkquote'], 'attestation on one swtpm', () => {
  let bench: Bench;
  beforeAll(async () => {
    bench = await startBench();
    await bench.ours(async (tpm) => {
      for (const kind of ['rsa', 'ecc'] as const) {
        const size = kind === 'rsa' ? 'rsa-2048' : 'ecc-p256';
        await using ak = await createPrimary(tpm, { template: akTemplate(size), hierarchy: 'endorsement' });
        await persist(tpm, ak, AKS[kind]);
        await using srk = await createPrimary(tpm, { template: srkTemplate(size) });
        await persist(tpm, srk, SRKS[kind]);
      }
    });
  });
  afterAll(() => bench?.stop());

  describe.each(['rsa', 'ecc'] as const)('by keys of %s', (kind) => {
    const ak = `0x${AKS[kind].toString(16)}`;
    const out = ['-o', 'their.msg', '-s', 'their.sig'];
    const theirs = () => ({ attest: bench.get('their.msg'), signature: bench.get('their.sig') });
    const signer = async () => (await bench.ours((tpm) => openObject(tpm, AKS[kind]))).public;

    it('tpm2_checkquote believes our quote, and not with another nonce or other values', async () => {
      const pcrs = { sha1: [1], sha256: [0, 7, 16] };
      const made = await bench.ours(
        async (tpm) => await quote(tpm, await openObject(tpm, AKS[kind]), { nonce: NONCE, pcrs }),
      );
      bench.put('ak.pub', encode(Tpm2bPublic, await signer()));
      bench.put('our.msg', made.quoted);
      bench.put('our.sig', made.signature);
      bench.put('our.pcrs', Buffer.concat(orderedPcrValues(made.pcrs)));
      const check = (nonce: Uint8Array) => {
        const selection = ['-F', 'values', '-f', 'our.pcrs', '-l', 'sha1:1+sha256:0,7,16'];
        const message = ['-u', 'ak.pub', '-m', 'our.msg', '-s', 'our.sig', '-g', 'sha256', '-q', hex(nonce)];
        return bench.run('tpm2_checkquote', ...message, ...selection);
      };
      check(NONCE);
      expect(() => check(text('other'))).toThrow();
      bench.put('our.pcrs', Buffer.alloc(116, 1));
      expect(() => check(NONCE)).toThrow();
    });

    it('we believe the quote of tpm2_quote, with the values that it wrote', async () => {
      bench.tool(
        'tpm2_quote',
        '-c',
        ak,
        '-l',
        'sha256:1,2,10+sha1:4',
        '-q',
        hex(NONCE),
        '-m',
        'their.msg',
        '-s',
        'their.sig',
        '-o',
        'their.pcrs',
        '-F',
        'values',
      );
      const file = bench.get('their.pcrs');
      const at = (start: number, size: number) => file.slice(start, start + size);
      const pcrs = { sha256: { 1: at(0, 32), 2: at(32, 32), 10: at(64, 32) }, sha1: { 4: at(96, 20) } };
      const input = { signer: await signer(), ...theirs(), nonce: NONCE };
      expect(verifyQuote({ ...input, pcrs })).toMatchObject({ ok: true });
      expect(await bench.ours((tpm) => readPcrs(tpm, pcrIndexesOf(pcrs)))).toEqual(pcrs);
      expect(verifyQuote({ ...input, pcrs: { ...pcrs, sha1: { 4: new Uint8Array(20).fill(1) } } })).toMatchObject({
        problem: 'pcr-digest',
      });
    });

    it('we believe tpm2_certify, tpm2_certifycreation, tpm2_gettime and tpm2_nvcertify', async () => {
      const parent = `0x${SRKS[kind].toString(16)}`;
      const creation = ['--creation-data', 'c.data', '-d', 'c.digest', '-t', 'c.ticket'];
      bench.tool('tpm2_create', '-C', parent, '-G', 'ecc256', '-u', 'c.pub', '-r', 'c.priv', ...creation);
      bench.run('tpm2_load', '-C', parent, '-u', 'c.pub', '-r', 'c.priv', '-c', 'c.ctx', '-n', 'c.name');
      bench.run('tpm2_flushcontext', '-t');
      const about = { signer: await signer(), nonce: NONCE };
      const name = bench.get('c.name');
      const qualification = ['-q', hex(NONCE)];

      bench.tool(
        'tpm2_certifycreation',
        '-C',
        ak,
        '-c',
        'c.ctx',
        '-d',
        'c.digest',
        '-t',
        'c.ticket',
        ...qualification,
        '-g',
        'sha256',
        '-f',
        'tss',
        '-o',
        'their.sig',
        '--attestation',
        'their.msg',
      );
      const creationData = bench.get('c.data').slice(2); // a TPM2B_CREATION_DATA
      expect(verifyCreation({ ...about, ...theirs(), name, creationData })).toMatchObject({ ok: true });

      bench.tool(
        'tpm2_gettime',
        '-c',
        ak,
        ...qualification,
        '-g',
        'sha256',
        '-f',
        'tss',
        '-o',
        'their.sig',
        '--attestation',
        'their.msg',
      );
      expect(verifyTime({ ...about, ...theirs() })).toMatchObject({ ok: true });

      const index = 0x01800050 + (kind === 'rsa' ? 0 : 1);
      const indexName = await bench.ours(async (tpm) => {
        const made = await nvDefine(tpm, { index, size: 8 });
        await nvWrite(tpm, made, text('contents'));
        return (await openNv(tpm, index)).name;
      });
      bench.tool(
        'tpm2_nvcertify',
        '-C',
        ak,
        '-c',
        'o',
        ...qualification,
        '-g',
        'sha256',
        '-f',
        'tss',
        '--size',
        '8',
        '-o',
        'their.sig',
        '--attestation',
        'their.msg',
        `0x${index.toString(16)}`,
      );
      expect(verifyNvCertify({ ...about, ...theirs(), name: indexName, contents: text('contents') })).toMatchObject({
        ok: true,
      });

      // tpm2_certify takes no nonce of the caller's.
      bench.tool('tpm2_certify', '-c', 'c.ctx', '-C', ak, '-g', 'sha256', ...out);
      const certified = { ...about, ...theirs(), nonce: Uint8Array.of(0, 0xff, 0x55, 0xaa) };
      expect(verifyCertify({ ...certified, name })).toMatchObject({ ok: true });
      expect(verifyCertify({ ...certified, name: indexName })).toMatchObject({ problem: 'name' });
    });

    it('we believe the audit digest of tpm2_getsessionauditdigest as far as it says what tpm2-tools recorded', async () => {
      bench.run('tpm2_startauthsession', '--audit-session', '-S', 'audit.ctx');
      bench.put('session.hash', new Uint8Array(0));
      bench.run('tpm2_getrandom', '8', '-S', 'audit.ctx', '--cphash', 'cp.hash', '--rphash', 'rp.hash', '-o', 'random');
      bench.tool(
        'tpm2_getsessionauditdigest',
        '-c',
        ak,
        '-g',
        'sha256',
        '-q',
        hex(NONCE),
        '-m',
        'their.msg',
        '-s',
        'their.sig',
        '-S',
        'audit.ctx',
      );
      const { extendAudit, GetRandom } = await import('../../src/index.js');
      const response = { randomBytes: bench.get('random') };
      const digest = extendAudit([{ command: GetRandom, request: { bytesRequested: 8 }, response }]);
      const input = { signer: await signer(), ...theirs(), nonce: NONCE };
      expect(verifySessionAudit({ ...input, digest })).toMatchObject({ ok: true });
    });

    it('credentials go both ways, through files', async () => {
      const secret = text('a secret');
      bench.tool('tpm2_createek', '-c', 'ek.ctx', '-G', kind, '-u', 'ek.pub');
      const ours = await bench.ours(async (tpm) => {
        await using ek = await createEk(tpm, kind === 'rsa' ? 'rsa-2048' : 'ecc-p256');
        expect(encode(Tpm2bPublic, ek.public)).toEqual(bench.get('ek.pub'));
        const key = await openObject(tpm, AKS[kind]);
        bench.put('secret', secret);
        bench.run(
          'tpm2_makecredential',
          '-T',
          'none',
          '-u',
          'ek.pub',
          '-s',
          'secret',
          '-n',
          hex(key.name),
          '-o',
          'their.cred',
        );
        const credential = parseCredentialFile(bench.get('their.cred'));
        expect(await activateCredential(tpm, { ek, ak: key, credential })).toEqual(secret);
        return makeCredential(ek.public, key.name, secret);
      });
      bench.put('our.cred', encodeCredentialFile(ours));
      bench.run('tpm2_startauthsession', '--policy-session', '-S', 'session.ctx');
      bench.run('tpm2_policysecret', '-S', 'session.ctx', '-c', 'e');
      bench.tool(
        'tpm2_activatecredential',
        '-c',
        ak,
        '-C',
        'ek.ctx',
        '-P',
        'session:session.ctx',
        '-i',
        'our.cred',
        '-o',
        'opened',
      );
      expect(bench.get('opened')).toEqual(secret);
    });

    it('sealed data go both ways, by value and under PCRs', async () => {
      const parent = `0x${SRKS[kind].toString(16)}`;
      const policy: Policy = [{ type: 'pcr', values: await bench.ours((tpm) => readPcrs(tpm, { sha256: [0, 7] })) }];
      for (const [how, options, auth] of [
        ['open', { auth: 'open' }, 'open'],
        ['pcr', { policy }, 'pcr:sha256:0,7'],
      ] as const) {
        const sealed = await bench.ours(async (tpm) =>
          seal(tpm, { parent: await openObject(tpm, SRKS[kind]), data: text(`ours ${how}`), ...options }),
        );
        const files = encodeKeyFiles(sealed);
        bench.put('s.pub', files.public);
        bench.put('s.priv', files.private);
        bench.run('tpm2_load', '-C', parent, '-u', 's.pub', '-r', 's.priv', '-c', 's.ctx');
        bench.run('tpm2_flushcontext', '-t');
        expect(bench.tool('tpm2_unseal', '-c', 's.ctx', '-p', auth)).toBe(`ours ${how}`);

        bench.put('data', `theirs ${how}`);
        bench.put('policy', sealed.public.authPolicy);
        const protection =
          how === 'pcr' ? ['-L', 'policy', '-a', 'fixedtpm|fixedparent|adminwithpolicy'] : ['-p', 'open'];
        bench.tool('tpm2_create', '-C', parent, '-i', 'data', ...protection, '-u', 't.pub', '-r', 't.priv');
        const their = parseKeyFiles({ public: bench.get('t.pub'), private: bench.get('t.priv') });
        const opened = await bench.ours(async (tpm) =>
          unseal(tpm, { parent: await openObject(tpm, SRKS[kind]), sealed: their, ...options }),
        );
        expect(opened).toEqual(text(`theirs ${how}`));
      }
    });
  });
});
