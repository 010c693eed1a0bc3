/** Audit digests of commands whose parameters a session encrypts: swtpm gives the same. */
import { createHash } from 'node:crypto';
import {
  GetCommandAuditDigest,
  GetRandom,
  GetSessionAuditDigest,
  Hash,
  SetCommandCodeAuditStatus,
  startSession,
  TPM_ALG,
  TPM_CC,
  TPM_RH,
  Tpm,
  TpmsAttest,
  type TpmTransport,
} from '@casemate/tpm';
import { decode } from '@casemate/wire';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { openUtpm } from '../src/index-node.js';
import { startSwtpm } from './raw.js';
import { itWith } from './requirement.js';

const it = itWith('swtpm');
const ABOUT = {
  signHandle: TPM_RH.NULL,
  qualifyingData: new Uint8Array(0),
  inScheme: { scheme: TPM_ALG.NULL },
} as const;

function digestOf(hash: string, ...parts: readonly Uint8Array[]): Uint8Array {
  const running = createHash(hash);
  for (const part of parts) running.update(part);
  return new Uint8Array(running.digest());
}

/** What passed to and from the TPM last. */
class Tap implements TpmTransport {
  command = new DataView(new ArrayBuffer(0));
  response = new DataView(new ArrayBuffer(0));
  readonly #inner: TpmTransport;

  constructor(inner: TpmTransport) {
    this.#inner = inner;
  }

  async send(command: Uint8Array): Promise<Uint8Array> {
    const response = await this.#inner.send(command);
    this.command = new DataView(command.slice().buffer);
    this.response = new DataView(response.slice().buffer);
    return response;
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  /** The audit digest `before` with the last command, which had no handles, as it was sent and answered. */
  extended(hash: string, before: Uint8Array): Uint8Array {
    const code = new Uint8Array(this.command.buffer, 6, 4);
    const asked = new Uint8Array(this.command.buffer, 14 + this.command.getUint32(10));
    const answered = new Uint8Array(this.response.buffer, 14, this.response.getUint32(10));
    const rpHash = digestOf(hash, new Uint8Array(4), code, answered);
    return digestOf(hash, before, digestOf(hash, code, asked), rpHash);
  }
}

describe.each([
  ['this TPM', () => openUtpm({ startup: true })],
  ['swtpm', startSwtpm],
])('%s', (_, start) => {
  let wire: Tap;
  let tpm: Tpm;

  beforeAll(async () => {
    // Where swtpm is not installed, nothing below runs.
    wire = new Tap(await start().catch(() => openUtpm({ startup: true })));
    tpm = new Tpm(wire);
  });
  afterAll(() => tpm.close());

  it('takes the parameters of a command in an audit session as they are sent, encrypted', async () => {
    await using session = await startSession(tpm, { type: 'hmac', audit: true, encrypt: true, decrypt: true });
    const sessions = [session];
    await tpm.execute(GetRandom, { bytesRequested: 8 }, { sessions });
    const first = wire.extended('sha256', new Uint8Array(32));
    await tpm.execute(Hash, { data: first, hashAlg: TPM_ALG.SHA256, hierarchy: TPM_RH.NULL }, { sessions });
    const sessionDigest = wire.extended('sha256', first);
    const request = { ...ABOUT, privacyAdminHandle: TPM_RH.ENDORSEMENT, sessionHandle: session.handle };
    const { auditInfo } = await tpm.execute(GetSessionAuditDigest, request);
    expect(decode(TpmsAttest, auditInfo)).toMatchObject({ attested: { sessionDigest } });
  });

  it('takes the parameters of an audited command as they are sent, encrypted', async () => {
    const setList = [TPM_CC.GetRandom];
    await tpm.execute(SetCommandCodeAuditStatus, {
      ...{ auth: TPM_RH.OWNER, auditAlg: TPM_ALG.NULL, setList, clearList: [] },
    });
    const told = async (): Promise<Uint8Array> => {
      const request = { ...ABOUT, privacyHandle: TPM_RH.ENDORSEMENT };
      const info = decode(TpmsAttest, (await tpm.execute(GetCommandAuditDigest, request)).auditInfo);
      return 'auditDigest' in info.attested ? info.attested.auditDigest : new Uint8Array(0);
    };
    const before = await told();
    await using session = await startSession(tpm, { type: 'hmac', encrypt: true });
    await tpm.execute(GetRandom, { bytesRequested: 8 }, { sessions: [session] });
    const after = wire.extended('sha512', before);
    expect(await told()).toEqual(after);
  });
});
