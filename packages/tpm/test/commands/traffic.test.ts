/** Commands and responses as others put them on the wire. */
import { readFileSync } from 'node:fs';
import { decode, encode } from '@casemate/wire';
import { describe, expect, it } from 'vitest';
import * as tpm from '../../src/index.js';

interface Exchange {
  readonly name: string;
  readonly responseCode: number;
  readonly command: string;
  readonly response: string;
}

function vectors<T>(file: string): T {
  return JSON.parse(readFileSync(new URL(`../vectors/${file}`, import.meta.url), 'utf8'));
}

const fromHex = (hex: string) => Uint8Array.from(hex.match(/../g) ?? [], (octet) => Number.parseInt(octet, 16));
const toHex = (bytes: Uint8Array) => Array.from(bytes, (octet) => octet.toString(16).padStart(2, '0')).join('');
const lookup = (code: number) => tpm.commandByCode.get(code);

function commandOf(code: number): tpm.AnyCommand {
  const command = lookup(code);
  if (command === undefined) throw new Error(`command code ${code} is unknown`);
  return command;
}

describe('traffic between tpm2-tools and swtpm', () => {
  const exchanges = vectors<readonly Exchange[]>('swtpm-traffic.json');

  it.each(exchanges)('$name answered with $responseCode decodes and encodes to the same bytes', (exchange) => {
    const frame = tpm.decodeCommand(fromHex(exchange.command), lookup);
    const command = commandOf(frame.code);
    const uses = (attribute: number) =>
      frame.auths.some(({ sessionAttributes }) => (sessionAttributes & attribute) !== 0);
    const parameters = uses(tpm.TPMA_SESSION.decrypt)
      ? frame.parameters
      : encode(command.parameters, decode(command.parameters, frame.parameters));
    frame.handles.forEach((handle, i) => {
      expect(encode(command.handles[i]?.codec ?? tpm.Int8, handle)).toHaveLength(4);
    });
    expect(command.name).toBe(exchange.name);
    expect(toHex(tpm.encodeCommand({ ...frame, parameters }))).toBe(exchange.command);

    const answer = tpm.decodeResponse(command, fromHex(exchange.response));
    const isPlain = answer.responseCode === 0 && !uses(tpm.TPMA_SESSION.encrypt);
    const results = isPlain ? encode(command.response, decode(command.response, answer.parameters)) : answer.parameters;
    expect(answer.responseCode).toBe(exchange.responseCode);
    if (!uses(tpm.TPMA_SESSION.encrypt)) {
      const parameters = isPlain ? decode(command.response, answer.parameters) : undefined;
      expect(tpm.decodeAnswer(command, fromHex(exchange.response))).toStrictEqual({ ...answer, parameters });
    }
    expect(answer.auths).toHaveLength(answer.responseCode === 0 ? frame.auths.length : 0);
    expect(toHex(tpm.encodeResponse({ ...answer, parameters: results }))).toBe(exchange.response);
  });

  it('shows 89 commands that succeed', () => {
    expect(new Set(exchanges.filter(({ responseCode }) => responseCode === 0).map(({ name }) => name)).size).toBe(89);
  });

  it('names what every refusal blames', () => {
    const blamed = exchanges.flatMap(({ name, responseCode }) => {
      const { origin, name: code } = tpm.parseResponseCode(responseCode);
      return responseCode === 0 ? [] : [`${name} ${code} ${origin?.kind ?? 'nothing'} ${origin?.index ?? 0}`];
    });
    expect(blamed).toContain('TPM2_Unseal TPM_RC_BAD_AUTH session 1');
    expect(blamed).toContain('TPM2_ReadPublic TPM_RC_HANDLE handle 1');
    expect(blamed).toContain('TPM2_PolicyTicket TPM_RC_TICKET parameter 5');
    expect(blamed).toContain('TPM2_Unseal TPM_RC_AUTH_MISSING nothing 0');
    expect(blamed).toContain('TPM2_Startup TPM_RC_INITIALIZE nothing 0');
  });
});

describe('commands built from structures', () => {
  const expected = vectors<Readonly<Record<string, string>>>('encoded-commands.json');
  const empty = new Uint8Array();
  const digest = new Uint8Array(32).fill(0xab);
  const { TPM_ALG, TPM_RH, TPMA_OBJECT } = tpm;
  const password: tpm.TpmsAuthCommand = {
    sessionHandle: tpm.TPM_RS.PW,
    nonce: empty,
    sessionAttributes: 1,
    hmac: empty,
  };
  const bytes = (text: string) => new TextEncoder().encode(text);

  function pcrs(...indexes: number[]): tpm.TpmlPcrSelection {
    const pcrSelect = new Uint8Array(3);
    for (const index of indexes) pcrSelect[index >> 3] = (pcrSelect[index >> 3] ?? 0) | (1 << (index & 7));
    return [{ hash: TPM_ALG.SHA256, pcrSelect }];
  }

  /** The typed request of one command, encoded; handles in it are numbers. */
  function build<C extends tpm.AnyCommand>(command: C, request: tpm.CommandRequest<C>, auths = [password]): string {
    const fields: Readonly<Record<string, unknown>> = request;
    const handles = command.handles.map(({ name }) => Number(fields[name]));
    const needed = command.sessions === 'required' ? auths : [];
    const parameters = encode(command.parameters, fields);
    return toHex(tpm.encodeCommand({ code: command.code, handles, auths: needed, parameters }));
  }

  const attributes =
    TPMA_OBJECT.fixedTPM |
    TPMA_OBJECT.fixedParent |
    TPMA_OBJECT.sensitiveDataOrigin |
    TPMA_OBJECT.userWithAuth |
    TPMA_OBJECT.noDA;
  const area = { nameAlg: TPM_ALG.SHA256, authPolicy: empty } as const;
  const none = { scheme: TPM_ALG.NULL } as const;
  const aes = { algorithm: TPM_ALG.AES, keyBits: 128, mode: TPM_ALG.CFB } as const;
  const point = { x: empty, y: empty };
  const ecc: tpm.TpmtPublic = {
    ...area,
    type: TPM_ALG.ECC,
    objectAttributes: attributes | TPMA_OBJECT.restricted | TPMA_OBJECT.decrypt,
    parameters: { symmetric: aes, scheme: none, curveID: tpm.TPM_ECC_CURVE.NIST_P256, kdf: none },
    unique: point,
  };
  const rsa: tpm.TpmtPublic = {
    ...area,
    type: TPM_ALG.RSA,
    objectAttributes: attributes | TPMA_OBJECT.restricted | TPMA_OBJECT.decrypt,
    parameters: { symmetric: aes, scheme: none, keyBits: 2048, exponent: 0 },
    unique: empty,
  };
  const eccAk: tpm.TpmtPublic = {
    ...area,
    type: TPM_ALG.ECC,
    objectAttributes: attributes | TPMA_OBJECT.restricted | TPMA_OBJECT.sign,
    parameters: {
      symmetric: { algorithm: TPM_ALG.NULL },
      scheme: { scheme: TPM_ALG.ECDSA, details: { hashAlg: TPM_ALG.SHA256 } },
      curveID: tpm.TPM_ECC_CURVE.NIST_P256,
      kdf: none,
    },
    unique: point,
  };
  const rsaSign: tpm.TpmtPublic = {
    ...area,
    type: TPM_ALG.RSA,
    objectAttributes: attributes | TPMA_OBJECT.sign,
    parameters: {
      symmetric: { algorithm: TPM_ALG.NULL },
      scheme: { scheme: TPM_ALG.RSASSA, details: { hashAlg: TPM_ALG.SHA256 } },
      keyBits: 2048,
      exponent: 0,
    },
    unique: empty,
  };
  const sealed: tpm.TpmtPublic = {
    type: TPM_ALG.KEYEDHASH,
    nameAlg: TPM_ALG.SHA256,
    objectAttributes: TPMA_OBJECT.fixedTPM | TPMA_OBJECT.fixedParent | TPMA_OBJECT.noDA,
    authPolicy: digest,
    parameters: { scheme: none },
    unique: empty,
  };
  const created = { outsideInfo: empty, creationPCR: [] } as const;
  const noSecret = { userAuth: empty, data: empty };
  const ticket = { tag: tpm.TPM_ST.HASHCHECK, hierarchy: TPM_RH.NULL, digest: empty } as const;
  const index = 0x01500000;
  const nvPublic = { nvIndex: index, nameAlg: TPM_ALG.SHA256, attributes: 0x02060006, authPolicy: empty, dataSize: 32 };
  const session = {
    tpmKey: TPM_RH.NULL,
    bind: TPM_RH.NULL,
    nonceCaller: new Uint8Array(16).fill(1),
    encryptedSalt: empty,
    sessionType: tpm.TPM_SE.POLICY,
    symmetric: { algorithm: TPM_ALG.NULL },
    authHash: TPM_ALG.SHA256,
  } as const;

  const built: Readonly<Record<string, () => string>> = {
    Startup: () => build(tpm.Startup, { startupType: tpm.TPM_SU.CLEAR }),
    GetRandom: () => build(tpm.GetRandom, { bytesRequested: 32 }),
    PcrRead: () => build(tpm.PcrRead, { pcrSelectionIn: pcrs(0, 7, 23) }),
    PcrExtend: () => build(tpm.PcrExtend, { pcrHandle: 16, digests: [{ hashAlg: TPM_ALG.SHA256, digest }] }),
    CreatePrimaryEcc: () =>
      build(tpm.CreatePrimary, { primaryHandle: TPM_RH.OWNER, inSensitive: noSecret, inPublic: ecc, ...created }),
    CreatePrimaryRsa: () =>
      build(tpm.CreatePrimary, { primaryHandle: TPM_RH.ENDORSEMENT, inSensitive: noSecret, inPublic: rsa, ...created }),
    CreateSealed: () => {
      const inSensitive = { userAuth: empty, data: bytes('secret') };
      return build(tpm.Create, { parentHandle: 0x80000000, inSensitive, inPublic: sealed, ...created });
    },
    CreateEccAk: () =>
      build(tpm.Create, { parentHandle: 0x80000000, inSensitive: noSecret, inPublic: eccAk, ...created }),
    CreateRsaAk: () =>
      build(tpm.Create, { parentHandle: 0x81000001, inSensitive: noSecret, inPublic: rsaSign, ...created }),
    Load: () => build(tpm.Load, { parentHandle: 0x80000000, inPrivate: digest, inPublic: ecc }),
    Unseal: () => build(tpm.Unseal, { itemHandle: 0x80000001 }, [{ ...password, sessionHandle: 0x03000000 }]),
    FlushContext: () => build(tpm.FlushContext, { flushHandle: 0x80000001 }),
    Quote: () => {
      const request = { qualifyingData: bytes('nonce'), inScheme: none, PCRselect: pcrs(0, 1, 2) };
      return build(tpm.Quote, { signHandle: 0x80000001, ...request });
    },
    Sign: () => build(tpm.Sign, { keyHandle: 0x80000001, digest, inScheme: none, validation: ticket }),
    StartAuthSession: () => build(tpm.StartAuthSession, session),
    PolicyPcr: () => build(tpm.PolicyPcr, { policySession: 0x03000000, pcrDigest: empty, pcrs: pcrs(0, 1) }),
    NvDefineSpace: () => build(tpm.NvDefineSpace, { authHandle: TPM_RH.OWNER, auth: empty, publicInfo: nvPublic }),
    NvUndefineSpace: () => build(tpm.NvUndefineSpace, { authHandle: TPM_RH.OWNER, nvIndex: index }),
    NvWrite: () => build(tpm.NvWrite, { authHandle: TPM_RH.OWNER, nvIndex: index, data: digest, offset: 0 }),
    NvRead: () => build(tpm.NvRead, { authHandle: TPM_RH.OWNER, nvIndex: index, size: 32, offset: 0 }),
    Hash: () => build(tpm.Hash, { data: bytes('abc'), hashAlg: TPM_ALG.SHA256, hierarchy: TPM_RH.NULL }),
    GetCapability: () =>
      build(tpm.GetCapability, { capability: tpm.TPM_CAP.TPM_PROPERTIES, property: 0x100, propertyCount: 64 }),
    ReadPublic: () => build(tpm.ReadPublic, { objectHandle: 0x81000001 }),
  };

  it.each(Object.entries(expected))('%s has the bytes that another client puts together', (name, hex) => {
    expect(built[name]?.()).toBe(hex);
  });
});
