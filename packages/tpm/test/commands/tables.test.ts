/** The 122 commands against the specification's tables. */
import type { Codec } from '@casemate/wire';
import { describe, expect, it } from 'vitest';
import * as tpm from '../../src/index.js';
import { type AnyCommand, commandByCode, commands, isFirstParameterSized } from '../../src/index.js';
import { tables } from '../tables.js';

const plainNames: Readonly<Record<string, string>> = { UINT16: 'u16', UINT32: 'u32', UINT64: 'u64' };
/** Where a TPM itself returns a conditional value, though the table does not mark it: an attestation without a signer, an object without a name. */
const wider = new Set(
  ['Certify', 'CertifyCreation', 'Quote', 'GetSessionAuditDigest', 'GetCommandAuditDigest', 'GetTime', 'CertifyX509']
    .map((name) => `TPM2_${name}.signature`)
    .concat('TPM2_NV_Certify.signature', 'TPM2_ReadPublic.outPublic'),
);

function ours(name: string): AnyCommand {
  const command = commands.find((one) => one.name === name);
  if (command === undefined) throw new Error(`${name} is missing`);
  return command;
}

function codecName(command: string, field: string, type: string): string {
  if (wider.has(`${command}.${field}`)) return `${type}+`;
  return plainNames[type] ?? type;
}

function namesOf(fields: Readonly<Record<string, unknown>>): (readonly [string, string])[] {
  return Object.entries(fields).map(([name, codec]) => [name, (codec as Codec<unknown>).name] as const);
}

describe('commands', () => {
  it('are the 122 of the specification in its order', () => {
    expect(commands).toHaveLength(122);
    expect(commands.map(({ name }) => name)).toEqual(tables.commands.map(({ name }) => name));
  });

  it.each(tables.commands)('$name has the code, handles and roles of its table', ({ name, code, handles }) => {
    const command = ours(name);
    expect(command.code).toBe(code);
    expect(command.handles.map(({ name: handle, codec, auth }) => [handle, codec.name, auth])).toEqual(handles);
    const needsAuth = handles.some(([, , role]) => role !== 'none');
    expect(command.sessions === 'required').toBe(needsAuth);
  });

  it.each(tables.commands)('$name has the parameters of its table', ({ name, parameters }) => {
    const expected = parameters.map(([field, type]) => [field, codecName(name, field, type)]);
    expect(namesOf(ours(name).parameters.fields)).toEqual(expected);
  });

  it.each(tables.commands)('$name has the response of its table', ({ name, responseHandles, response }) => {
    const command = ours(name);
    expect(command.responseHandles.map(({ name: handle, codec }) => [handle, codec.name])).toEqual(responseHandles);
    const expected = response.map(([field, type]) => [field, codecName(name, field, type)]);
    expect(namesOf(command.response.fields)).toEqual(expected);
  });

  it.each(tables.commands)(
    '$name tells whether sessions can encrypt its first parameter',
    ({ name, parameters, response }) => {
      const isSized = (fields: readonly (readonly [string, string])[]) => fields[0]?.[1].startsWith('TPM2B_') ?? false;
      expect(isFirstParameterSized(ours(name).parameters)).toBe(isSized(parameters));
      expect(isFirstParameterSized(ours(name).response)).toBe(isSized(response));
    },
  );

  it('put handles that need an authorisation first', () => {
    for (const { name, handles } of commands) {
      const plain = handles.findIndex(({ auth }) => auth === 'none');
      if (plain >= 0)
        expect(
          handles.slice(plain).every(({ auth }) => auth === 'none'),
          name,
        ).toBe(true);
    }
  });

  it('never take sessions only where the specification says so', () => {
    const never = commands.filter(({ sessions }) => sessions === 'never').map(({ name }) => name);
    expect(never).toEqual(['TPM2_Startup', 'TPM2_ContextSave', 'TPM2_ContextLoad', 'TPM2_FlushContext']);
  });

  it('are found by code, HMAC and HMAC_Start standing for the MAC commands of the same codes', () => {
    expect(commandByCode.size).toBe(120);
    for (const command of commands) {
      const found = commandByCode.get(command.code);
      expect(found?.name).toBe(command.name.replace('TPM2_MAC', 'TPM2_HMAC'));
    }
  });

  it('are exported each under the name of the specification in TypeScript case', () => {
    const exported: readonly unknown[] = Object.values(tpm);
    expect(commands.filter((command) => !exported.includes(command))).toEqual([]);
    expect(
      [tpm.PcrExtend, tpm.NvDefineSpace, tpm.PolicyOr, tpm.EcdhZGen, tpm.PolicyAcSendSelect].map(({ name }) => name),
    ).toEqual([
      'TPM2_PCR_Extend',
      'TPM2_NV_DefineSpace',
      'TPM2_PolicyOR',
      'TPM2_ECDH_ZGen',
      'TPM2_Policy_AC_SendSelect',
    ]);
  });
});
