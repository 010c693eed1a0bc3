/** Policies in TSS2 PRIVATE KEY files as policy elements, both ways (draft-bottomley-tpm2-keys-00, section 4). */
import { decode, encode, struct } from '@casemate/wire';
import { equalBytes } from './bytes.js';
import type { AnyCommand } from './command.js';
import {
  PolicyCommandCode,
  PolicyCounterTimer,
  PolicyCpHash,
  PolicyDuplicationSelect,
  PolicyLocality,
  PolicyNameHash,
  PolicyNvWritten,
  PolicyPcr,
  PolicyTemplate,
} from './commands/enhanced-authorization.js';
import { TPM_ALG } from './constants/algorithms.js';
import { TPM_CC } from './constants/commands.js';
import type { TpmHashes } from './crypto.js';
import { defaultHashes } from './default-crypto.js';
import type { KeyFile, KeyFileAuthPolicy, KeyFileCommand } from './key-file.js';
import { entityName } from './name.js';
import {
  bankOf,
  orderedPcrValues,
  PCR_BANKS,
  type PcrBank,
  pcrIndexesOf,
  pcrSelection,
  selectedIndexes,
} from './pcr.js';
import type { Policy, PolicyElement } from './policy.js';
import { TpmError } from './response-code.js';
import { TpmHandle } from './structures/constants.js';
import { Tpm2bDigest, Tpm2bName, Tpm2bNonce } from './structures/digests.js';
import type { TpmlPcrSelection } from './structures/lists.js';
import { Tpm2bPublic } from './structures/public.js';
import { TpmtSignature, TpmtSignatureOrNull } from './structures/signatures.js';

/** How a policy is turned into commands. */
export interface KeyFilePolicyOptions {
  /** Hash of the policy: the object's name algorithm. Default `sha256`. */
  readonly hash?: PcrBank;
  /** Default: `defaultHashes`. */
  readonly hashes?: Pick<TpmHashes, 'hash'>;
}

/**
 * A policy as commands for a key file's `policy`. Throws `TpmError` `usage` for elements that the format has no form for:
 * `or`, `signed`, `nv` and `authorize-nv`.
 */
export function keyFileCommands(policy: Policy, options: KeyFilePolicyOptions = {}): readonly KeyFileCommand[] {
  return policy.map((element) => encodeElement(element, options));
}

/** An `authorize` element with its approved policy, as an entry for a key file's `authPolicy`. Throws `TpmError` `usage`. */
export function keyFileAuthPolicy(
  element: Extract<PolicyElement, { type: 'authorize' }>,
  options: KeyFilePolicyOptions & { readonly name?: string } = {},
): KeyFileAuthPolicy {
  if (!element.approved) throw new TpmError('usage', 'encode key file policy: expected the approved policy, got none');
  const approved = keyFileCommands(element.approved.policy, options);
  const policy = [encodeElement(element, options), ...approved];
  return options.name === undefined ? { policy } : { name: options.name, policy };
}

/**
 * The policy that authorises the use of a key file's object, to give to {@link satisfyPolicy}; `undefined` where it has
 * none. Of several approved policies `choose` takes one by its number, by default the first. Throws `TpmError` `usage` for
 * commands that have no policy element, `WireError` for parameters that do not decode.
 */
export function keyFilePolicy(
  file: KeyFile,
  options: { readonly choose?: (policies: readonly KeyFileAuthPolicy[]) => number } = {},
): Policy | undefined {
  const { policy, authPolicy = [] } = file;
  const approved = authPolicy[options.choose?.(authPolicy) ?? 0];
  if (!approved) return policy && decodeCommands(policy);
  const [authorize, ...rest] = approved.policy;
  const element = authorize && decodeCommand(authorize);
  if (element?.type !== 'authorize' || !element.approved) {
    throw new TpmError('usage', 'read key file policy: expected an approval first, got another command');
  }
  return [{ ...element, approved: { ...element.approved, policy: decodeCommands(rest) } }];
}

function decodeCommands(commands: readonly KeyFileCommand[]): Policy {
  return commands.map(decodeCommand);
}

function encodeElement(element: PolicyElement, options: KeyFilePolicyOptions): KeyFileCommand {
  switch (element.type) {
    case 'pcr': {
      const { hash = 'sha256', hashes = defaultHashes } = options;
      const pcrDigest = hashes.hash(PCR_BANKS[hash], ...orderedPcrValues(element.values));
      return commandOf(PolicyPcr, { pcrDigest, pcrs: pcrSelection(pcrIndexesOf(element.values)) });
    }
    case 'pcr-digest':
      return commandOf(PolicyPcr, { pcrDigest: element.digest, pcrs: pcrSelection(element.pcrs) });
    case 'auth-value':
    case 'password': // the draft has one code for both, and leaves the way of proof to the reader
      return { commandCode: TPM_CC.PolicyAuthValue, commandPolicy: NONE };
    case 'physical-presence':
      return { commandCode: TPM_CC.PolicyPhysicalPresence, commandPolicy: NONE };
    case 'command-code':
      return commandOf(PolicyCommandCode, { code: element.code });
    case 'nv-written':
      return commandOf(PolicyNvWritten, { writtenSet: element.written });
    case 'cp-hash':
      return commandOf(PolicyCpHash, { cpHashA: element.cpHash });
    case 'name-hash':
      return commandOf(PolicyNameHash, { nameHash: element.nameHash });
    case 'template':
      return commandOf(PolicyTemplate, { templateHash: element.templateHash });
    case 'locality':
      return commandOf(PolicyLocality, { locality: element.locality });
    case 'duplication-select':
      return commandOf(PolicyDuplicationSelect, element);
    case 'counter-timer': {
      const { operand: operandB, offset = 0, operation } = element;
      return commandOf(PolicyCounterTimer, { operandB, offset, operation });
    }
    case 'secret': {
      const { authority, policyRef = NONE } = element;
      const body = { objectHandleHint: authority.handle, objectName: entityName(authority), policyRef };
      return { commandCode: TPM_CC.PolicySecret, commandPolicy: encode(SecretBody, body) };
    }
    case 'authorize': {
      const { authority, policyRef = NONE, approved } = element;
      const signature = approved ? decode(TpmtSignature, approved.signature) : NO_SIGNATURE;
      const body = { keySign: authority, policyRef, signature };
      return { commandCode: TPM_CC.PolicyAuthorize, commandPolicy: encode(AuthorizeBody, body) };
    }
    case 'or':
    case 'signed':
    case 'ticket':
    case 'nv':
    case 'authorize-nv':
      throw new TpmError('usage', `encode key file policy: the format has no form for the element ${element.type}`);
  }
}

/** Whoever wrote the file controls the parameters; the object's own policy digest decides whether they are of use. */
function decodeCommand({ commandCode, commandPolicy }: KeyFileCommand): PolicyElement {
  switch (commandCode) {
    case TPM_CC.PolicyPCR: {
      const { pcrDigest: digest, pcrs } = decode(PolicyPcr.parameters, commandPolicy);
      return { type: 'pcr-digest', pcrs: indexesIn(pcrs), digest };
    }
    case TPM_CC.PolicyAuthValue:
      return empty({ type: 'auth-value' }, commandPolicy);
    case TPM_CC.PolicyPassword:
      return empty({ type: 'password' }, commandPolicy);
    case TPM_CC.PolicyPhysicalPresence:
      return empty({ type: 'physical-presence' }, commandPolicy);
    case TPM_CC.PolicyCommandCode:
      return { type: 'command-code', code: decode(PolicyCommandCode.parameters, commandPolicy).code };
    case TPM_CC.PolicyNvWritten:
      return { type: 'nv-written', written: decode(PolicyNvWritten.parameters, commandPolicy).writtenSet };
    case TPM_CC.PolicyCpHash:
      return { type: 'cp-hash', cpHash: decode(PolicyCpHash.parameters, commandPolicy).cpHashA };
    case TPM_CC.PolicyNameHash:
      return { type: 'name-hash', nameHash: decode(PolicyNameHash.parameters, commandPolicy).nameHash };
    case TPM_CC.PolicyTemplate:
      return { type: 'template', templateHash: decode(PolicyTemplate.parameters, commandPolicy).templateHash };
    case TPM_CC.PolicyLocality:
      return { type: 'locality', locality: decode(PolicyLocality.parameters, commandPolicy).locality };
    case TPM_CC.PolicyDuplicationSelect:
      return { type: 'duplication-select', ...decode(PolicyDuplicationSelect.parameters, commandPolicy) };
    case TPM_CC.PolicyCounterTimer: {
      const { operandB: operand, offset, operation } = decode(PolicyCounterTimer.parameters, commandPolicy);
      return { type: 'counter-timer', operand, offset, operation };
    }
    case TPM_CC.PolicySecret: {
      const { objectHandleHint: handle, objectName: name, policyRef } = decode(SecretBody, commandPolicy);
      return { type: 'secret', authority: { handle, name }, policyRef };
    }
    case TPM_CC.PolicyAuthorize: {
      const { keySign: authority, policyRef, signature } = decode(AuthorizeBody, commandPolicy);
      if (signature.sigAlg === TPM_ALG.NULL) return { type: 'authorize', authority, policyRef };
      const approved = { policy: [], signature: encode(TpmtSignatureOrNull, signature) };
      return { type: 'authorize', authority, policyRef, approved };
    }
    default:
      throw new TpmError('usage', `read key file policy: no element for command 0x${commandCode.toString(16)}`);
  }
}

function commandOf<C extends AnyCommand>(command: C, parameters: object): KeyFileCommand {
  return { commandCode: command.code, commandPolicy: encode(command.parameters, parameters) };
}

function empty<E extends PolicyElement>(element: E, body: Uint8Array): E {
  if (body.length === 0) return element;
  throw new TpmError(
    'usage',
    `read key file policy: expected no parameters of ${element.type}, got ${body.length} bytes`,
  );
}

function indexesIn(selection: TpmlPcrSelection): { readonly [B in PcrBank]?: readonly number[] } {
  const banks = selection.map(({ hash, pcrSelect }) => [bankName(hash), selectedIndexes(pcrSelect)] as const);
  const indexes = Object.fromEntries(banks);
  const again = encode(PolicyPcr.parameters, { pcrDigest: NONE, pcrs: pcrSelection(indexes) });
  if (equalBytes(again, encode(PolicyPcr.parameters, { pcrDigest: NONE, pcrs: selection }))) return indexes;
  throw new TpmError('usage', 'read key file policy: expected each bank once and 24 PCRs a bank');
}

function bankName(hash: number): PcrBank {
  const bank = bankOf(hash);
  if (bank) return bank;
  throw new TpmError('usage', `read key file policy: no bank for TPM_ALG_ID 0x${hash.toString(16)}`);
}

const NONE = new Uint8Array(0);
const NO_SIGNATURE = { sigAlg: TPM_ALG.NULL } as const;
/** The handle is a hint where to find the authority; its Name is what the policy digest holds. */
const SecretBody = struct('PolicySecret in a key file', {
  objectHandleHint: TpmHandle,
  objectName: Tpm2bName,
  policyRef: Tpm2bNonce,
});
const AuthorizeBody = struct('PolicyAuthorize in a key file', {
  keySign: Tpm2bPublic,
  policyRef: Tpm2bDigest,
  signature: TpmtSignatureOrNull,
});
