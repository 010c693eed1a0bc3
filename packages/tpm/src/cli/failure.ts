/** This package's errors as exit codes, and what to do about them. */
import { EXIT, type ExitCode, kindOf, type ToldFailure } from '@casemate/command-line';
import { WireError } from '@casemate/wire';
import { TPM_RC } from '../constants/responses.js';
import { type ResponseCode, TpmError } from '../response-code.js';

/** Says what an error of this package is; `undefined` for any other. */
export function tellTpmError(error: unknown): ToldFailure | undefined {
  if (error instanceof TpmError) return toldOf(error);
  if (!(error instanceof WireError)) return undefined;
  const exit = error.code === 'bad-input' ? EXIT.USAGE : EXIT.MALFORMED;
  return { exit, kind: kindOf(exit), message: error.message, remedy: undefined };
}

function toldOf(error: TpmError): ToldFailure {
  const { code, message, response } = error;
  // Of all policy commands this one says so in a way of its own, where a value is not the one that it must be.
  const isOtherPcrs = message.startsWith('TPM2_PolicyPCR:') && response?.number === TPM_RC.VALUE;
  const answer = isOtherPcrs ? { ...response, number: TPM_RC.POLICY_FAIL } : response;
  const exit = code === 'response' && answer ? exitOfResponse(answer) : EXITS[code];
  const remedy = code === 'response' && answer ? remedyOf(answer) : undefined;
  const told = response && { code: `0x${response.code.toString(16).padStart(8, '0')}`, name: response.name };
  return { exit, kind: kindOf(exit), message, remedy, ...(told && { details: { response: told } }) };
}

function exitOfResponse({ number }: ResponseCode): ExitCode {
  return UNAUTHORISED.has(number) ? EXIT.UNAUTHORISED : EXIT.REFUSED;
}

/** What a person can do about a response code. */
function remedyOf({ number }: ResponseCode): string | undefined {
  return REMEDIES.find(([codes]) => codes.includes(number))?.[1];
}

const EXITS: Readonly<Record<TpmError['code'], ExitCode>> = {
  response: EXIT.REFUSED,
  transport: EXIT.UNREACHABLE,
  timeout: EXIT.UNREACHABLE,
  closed: EXIT.UNREACHABLE,
  decode: EXIT.MALFORMED,
  integrity: EXIT.CHECK_FAILED,
  usage: EXIT.USAGE,
};

const UNAUTHORISED: ReadonlySet<number> = new Set([
  TPM_RC.AUTH_FAIL,
  TPM_RC.BAD_AUTH,
  TPM_RC.POLICY_FAIL,
  TPM_RC.POLICY_CC,
  TPM_RC.POLICY,
  TPM_RC.EXPIRED,
  TPM_RC.LOCKOUT,
  TPM_RC.PCR_CHANGED,
  TPM_RC.AUTH_TYPE,
  TPM_RC.AUTH_UNAVAILABLE,
  TPM_RC.AUTH_MISSING,
  TPM_RC.NV_AUTHORIZATION,
  TPM_RC.LOCALITY,
  TPM_RC.PP,
]);

const REMEDIES: readonly (readonly [codes: readonly number[], remedy: string])[] = [
  [[TPM_RC.AUTH_FAIL], 'Check the password. Every wrong one counts towards lockout: see "casemate-tpm info".'],
  [[TPM_RC.BAD_AUTH], 'Check the password; of a hierarchy, give it with --owner-password or --endorsement-password.'],
  [
    [TPM_RC.LOCKOUT],
    'Wait until the TPM forgets a failure ("casemate-tpm info" says how long that takes), or reset it with "casemate-tpm lockout --reset".',
  ],
  [
    [TPM_RC.POLICY_FAIL, TPM_RC.PCR_CHANGED],
    'The PCRs have changed since ("casemate-tpm pcrs" shows them now), or the policy asks for something else, such as a password.',
  ],
  [[TPM_RC.INTEGRITY], 'The file was made by another TPM or under another parent, or it is damaged.'],
  [
    [TPM_RC.OBJECT_MEMORY, TPM_RC.OBJECT_HANDLES],
    'Free the slots with "casemate-tpm flush --transient", or go through the resource manager at /dev/tpmrm0.',
  ],
  [
    [TPM_RC.SESSION_MEMORY, TPM_RC.SESSION_HANDLES],
    'Free the slots with "casemate-tpm flush --sessions", or go through the resource manager at /dev/tpmrm0.',
  ],
  [[TPM_RC.INITIALIZE], 'The TPM has not been started: "casemate-tpm startup".'],
  [
    [TPM_RC.HANDLE, TPM_RC.REFERENCE_H0],
    'Nothing has this handle: "casemate-tpm handles" and "casemate-tpm nv list" show what there is.',
  ],
  [[TPM_RC.NV_UNINITIALIZED], 'Write it first: "casemate-tpm nv write".'],
  [
    [TPM_RC.NV_DEFINED],
    'Something is there already: choose another handle, or remove it with "casemate-tpm nv undefine" or "casemate-tpm key evict".',
  ],
  [[TPM_RC.NV_LOCKED], 'The index is locked against this, perhaps until the next restart of the TPM.'],
  [
    [TPM_RC.NV_AUTHORIZATION],
    'Its attributes do not allow this access; "casemate-tpm nv list" shows them. Choose who asks with --by.',
  ],
  [[TPM_RC.NV_SPACE], 'The TPM has no room for it: remove an index or a persistent object first.'],
  [[TPM_RC.NV_RANGE, TPM_RC.NV_SIZE], 'The index has fewer bytes than that; "casemate-tpm nv list" shows its size.'],
  [[TPM_RC.COMMAND_CODE], 'This TPM does not have the command.'],
  [[TPM_RC.FAILURE], 'The TPM is in failure mode; only a restart of it can help.'],
  [[TPM_RC.NV_RATE, TPM_RC.RETRY, TPM_RC.YIELDED, TPM_RC.TESTING], 'The TPM is busy; try again.'],
];
