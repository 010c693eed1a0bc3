/** Options that commands have in common. */
import type { OptionDefinitions } from '@casemate/command-line';

/** The options that every command takes, beside `--json` and `--help`. */
export const PROGRAM_OPTIONS: OptionDefinitions = {
  tpm: {
    type: 'string',
    short: 'T',
    value: 'ADDRESS',
    help: 'which TPM; default $CASEMATE_TPM, $TPM2TOOLS_TCTI, else device:/dev/tpmrm0',
  },
  record: {
    type: 'string',
    value: 'FILE',
    help: 'write what passes to FILE (pcapng), with all the secrets in it; "decode" reads it',
  },
  timeout: { type: 'string', value: 'SECONDS', help: 'how long one command of the TPM may take; default 300' },
};

/** Where bytes go, for commands whose output is bytes. */
export const OUTPUT_OPTIONS: OptionDefinitions = {
  out: {
    type: 'string',
    short: 'o',
    value: 'FILE',
    help: 'write to FILE, readable by its owner alone; default standard output',
  },
  format: { type: 'string', value: 'FORM', help: 'raw, hex or base64; default raw, on a terminal hex' },
};

/** The password of the object that a command uses. */
export const PASSWORD_OPTIONS: OptionDefinitions = {
  password: { type: 'string', short: 'p', value: 'SOURCE', help: 'its password' },
  'password-file': { type: 'string', value: 'FILE', help: 'the same as --password file:FILE' },
};

/** The password of the owner hierarchy. */
export const OWNER_OPTIONS: OptionDefinitions = {
  'owner-password': { type: 'string', value: 'SOURCE', help: "the owner hierarchy's password, where it has one" },
};

/** The password of the endorsement hierarchy. */
export const ENDORSEMENT_OPTIONS: OptionDefinitions = {
  'endorsement-password': {
    type: 'string',
    value: 'SOURCE',
    help: "the endorsement hierarchy's password, where it has one",
  },
};

/** A policy of PCRs. */
export const PCR_POLICY_OPTIONS: OptionDefinitions = {
  pcr: {
    type: 'string',
    multiple: true,
    value: 'PCRS',
    help: 'only while these PCRs have the values that they have now: sha256:0,7',
  },
};

/** Of commands that make an object and write it as a TSS2 PRIVATE KEY file. */
export const KEY_FILE_OPTIONS: OptionDefinitions = {
  out: { type: 'string', short: 'o', value: 'FILE', help: 'write the key file to FILE; default standard output' },
  parent: {
    type: 'string',
    value: 'HANDLE',
    help: "a storage key's persistent handle; default the owner's P-256 primary key",
  },
  'out-public': { type: 'string', value: 'FILE', help: 'write the TPM2B_PUBLIC too, for tpm2_load -u' },
  'out-private': { type: 'string', value: 'FILE', help: 'write the TPM2B_PRIVATE too, for tpm2_load -r' },
};
