/** Response codes against examples that tpm2-tss, swtpm and the specification agree on. */
import { describe, expect, it } from 'vitest';
import {
  describeResponseCode,
  encodeResponseCode,
  parseResponseCode,
  type ResponseCode,
  TPM_RC,
  TPM_RC_PART,
  TpmError,
} from '../src/index.js';
import { tables } from './tables.js';

const { P, S, H } = TPM_RC_PART;

describe('a response code', () => {
  it.each<[number, string, ResponseCode['origin'], ResponseCode['severity']]>([
    [0x000, 'TPM_RC_SUCCESS', undefined, 'success'],
    [0x922, 'TPM_RC_RETRY', undefined, 'warning'],
    [0x100, 'TPM_RC_INITIALIZE', undefined, 'error'],
    [0x01e, 'TPM_RC_BAD_TAG', undefined, 'error'],
    [0x125, 'TPM_RC_AUTH_MISSING', undefined, 'error'],
    [0x18b, 'TPM_RC_HANDLE', { kind: 'handle', index: 1 }, 'error'],
    [0x99d, 'TPM_RC_POLICY_FAIL', { kind: 'session', index: 1 }, 'error'],
    [0x98e, 'TPM_RC_AUTH_FAIL', { kind: 'session', index: 1 }, 'error'],
    [0xfa2, 'TPM_RC_BAD_AUTH', { kind: 'session', index: 7 }, 'error'],
    [0x2c4, 'TPM_RC_VALUE', { kind: 'parameter', index: 2 }, 'error'],
    [0xfd5, 'TPM_RC_SIZE', { kind: 'parameter', index: 15 }, 'error'],
    [0x084, 'TPM_RC_VALUE', undefined, 'error'],
    [0x884, 'TPM_RC_VALUE', undefined, 'error'],
    [0x902, 'TPM_RC_OBJECT_MEMORY', undefined, 'warning'],
    [0x921, 'TPM_RC_LOCKOUT', undefined, 'warning'],
    [0x918, 'TPM_RC_REFERENCE_S0', undefined, 'warning'],
  ])('%i is taken apart', (code, name, origin, severity) => {
    expect(parseResponseCode(code)).toMatchObject({ code, name, severity, layer: 0 });
    expect(parseResponseCode(code).origin).toEqual(origin);
  });

  it('has a name, its number and an explanation for every code of the specification', () => {
    for (const [name, number] of Object.entries(TPM_RC)) {
      const response = parseResponseCode(number);
      expect(response.name).toBe(`TPM_RC_${name}`);
      expect(response.number).toBe(number);
      expect(response.explanation).toMatch(/^[A-Z].*[A-Za-z)]\.$/);
    }
  });

  it('has an explanation of its own for every code', () => {
    const obsolete = [TPM_RC.PRIVATE, TPM_RC.HMAC] as readonly number[];
    const codes = Object.values(TPM_RC).filter((code) => !obsolete.includes(code));
    expect(new Set(codes.map((code) => parseResponseCode(code).explanation)).size).toBe(codes.length);
  });

  it('keeps the layer of a resource manager apart', () => {
    const response = parseResponseCode(0x000b0143);
    expect(response).toMatchObject({ code: 0x000b0143, layer: 11, number: TPM_RC.COMMAND_CODE });
  });

  it('keeps the number of a code that the specification does not have', () => {
    expect(parseResponseCode(0x57f)).toMatchObject({ name: '0x57f', severity: 'error' });
    expect(parseResponseCode(0x57f).explanation).toContain('vendor');
    expect(parseResponseCode(0x026).explanation).toContain('TPM 1.2');
    expect(parseResponseCode(0x0bf)).toMatchObject({ name: '0x0bf', origin: undefined });
  });

  it('never fails, whatever 32 bits arrive', () => {
    for (let code = 0; code <= 0x1fff; code++) expect(parseResponseCode(code).code).toBe(code);
    expect(parseResponseCode(0xffffffff).code).toBe(0xffffffff);
  });

  it('encodes what it parses', () => {
    const formatOne = tables.constants
      .filter(({ type }) => type === 'TPM_RC')
      .flatMap(({ members }) => members)
      .flatMap(([, number]) => (number !== null && number > 0x80 && number < 0xc0 ? [number] : []));
    expect(formatOne.length).toBe(33);
    for (const number of formatOne) {
      for (let index = 1; index <= 15; index++) {
        const blamed = encodeResponseCode(number, { kind: 'parameter', index });
        expect(blamed).toBe(number + P + index * 0x100);
        expect(parseResponseCode(blamed)).toMatchObject({ number, origin: { kind: 'parameter', index } });
      }
      for (let index = 1; index <= 7; index++) {
        expect(encodeResponseCode(number, { kind: 'handle', index })).toBe(number + H + index * 0x100);
        const blamed = encodeResponseCode(number, { kind: 'session', index });
        expect(blamed).toBe(number + S + index * 0x100);
        expect(parseResponseCode(blamed).origin).toEqual({ kind: 'session', index });
      }
    }
  });

  it('blames nothing that it has no number for, rather than something else', () => {
    const usage = expect.objectContaining({ code: 'usage' });
    for (const [kind, index] of [
      ['handle', 9],
      ['session', 8],
      ['parameter', 16],
      ['handle', 0],
      ['session', 1.5],
    ] as const) {
      expect(() => encodeResponseCode(TPM_RC.VALUE, { kind, index }), `${kind} ${index}`).toThrow(usage);
    }
  });

  it('leaves codes that carry no origin as they are', () => {
    expect(encodeResponseCode(TPM_RC.AUTH_MISSING, { kind: 'session', index: 1 })).toBe(TPM_RC.AUTH_MISSING);
  });

  it('is told to people with name, number, origin and explanation', () => {
    expect(describeResponseCode(parseResponseCode(0x9a2))).toBe(
      'TPM_RC_BAD_AUTH (0x9a2, session 1): The authorisation is wrong; the entity is exempt from lockout.',
    );
  });
});

describe('TpmError', () => {
  it('carries the response code apart from its text', () => {
    const error = TpmError.fromResponse('TPM2_Unseal', 0x99d);
    expect(error).toBeInstanceOf(Error);
    expect(error.code).toBe('response');
    expect(error.response?.number).toBe(TPM_RC.POLICY_FAIL);
    expect(error.message).toMatch(/^TPM2_Unseal: TPM_RC_POLICY_FAIL \(0x99d, session 1\): /);
  });

  it('keeps its cause', () => {
    const cause = new Error('socket hang up');
    expect(new TpmError('transport', 'send command: failed', { cause }).cause).toBe(cause);
    expect('cause' in new TpmError('closed', 'send command: closed')).toBe(false);
  });
});
