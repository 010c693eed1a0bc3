/** Options that commands have in common. */
import type { OptionDefinitions } from '@casemate/command-line';

/** The directory of an authority. */
export const STORE_OPTIONS: OptionDefinitions = {
  store: { type: 'string', short: 's', value: 'DIRECTORY', help: 'the authority; default $CASEMATE_PKI, else ./pki' },
  passphrase: { type: 'string', short: 'p', value: 'SOURCE', help: 'what its keys are encrypted under' },
};

/** A key that is addressed by URI. */
export const KEY_OPTIONS: OptionDefinitions = {
  key: {
    type: 'string',
    short: 'k',
    value: 'URI',
    help: 'file:PATH, pkcs12:PATH, tpm:HANDLE?tpm=ADDRESS, tpmkey:PATH or pkcs11:…',
  },
  secret: { type: 'string', value: 'SOURCE', help: 'the passphrase or PIN of --key' },
  module: { type: 'string', value: 'FILE', help: 'the PKCS#11 module, where the URI names none' },
};

/** Where the output goes. */
export const OUT_OPTIONS: OptionDefinitions = {
  out: { type: 'string', short: 'o', value: 'FILE', help: 'write to FILE; default standard output' },
};
