/** The endorsement key and the owner. */
import { writeFile } from 'node:fs/promises';
import {
  assertPhysicalPresence,
  changeOwnerSecret,
  clearOwner,
  createEndorsementKey,
  forceClear,
  pubkeySpki,
  ResetLockValue,
  readEndorsementKey,
  takeOwnership,
} from '@casemate/tpm/tpm12';
import { hex, may, OPTIONS, ownerSecret, type Subcommand, secretOf, srkSecret, UsageError } from '../command.js';

export const createEk: Subcommand = {
  help: 'makes the endorsement key of a TPM that has none',
  options: {},
  async run({ tpm, print }) {
    print(hex((await createEndorsementKey(tpm)).pubKey));
  },
};

export const pubekRead: Subcommand = {
  help: 'prints the public endorsement key, or writes it as DER SubjectPublicKeyInfo',
  options: { owner: OPTIONS.owner, file: OPTIONS.file },
  async run({ tpm, given, print }) {
    const owner = secretOf(given, 'owner');
    const key = await readEndorsementKey(tpm, owner === undefined ? {} : { owner });
    const file = may(given, 'file');
    if (file !== undefined) await writeFile(file, pubkeySpki(key));
    print(hex(key.pubKey));
  },
};

export const takeOwner: Subcommand = {
  help: 'takes ownership',
  options: { owner: OPTIONS.owner, srk: OPTIONS.srk },
  async run({ tpm, given, print }) {
    await takeOwnership(tpm, { ownerSecret: ownerSecret(given), srkSecret: srkSecret(given) });
    print('ownership taken');
  },
};

export const clear: Subcommand = {
  help: 'ends ownership: all keys and sealed data are lost',
  options: { owner: OPTIONS.owner, force: { type: 'boolean', help: 'under physical presence, without the password' } },
  async run({ tpm, given, print }) {
    if (given.force === true) {
      await assertPhysicalPresence(tpm);
      await forceClear(tpm);
    } else {
      await clearOwner(tpm, { owner: ownerSecret(given) });
    }
    print('the TPM has no owner now');
  },
};

export const changeOwner: Subcommand = {
  help: "changes the owner's password, or that of the storage root key",
  options: {
    owner: OPTIONS.owner,
    new: { type: 'string', short: 'n', help: 'the new password' },
    'of-srk': { type: 'boolean', help: 'change the password of the storage root key' },
  },
  async run({ tpm, given, print }) {
    const newSecret = secretOf(given, 'new');
    if (newSecret === undefined) throw new UsageError('expected -n with the new password');
    await changeOwnerSecret(tpm, {
      owner: ownerSecret(given),
      newSecret,
      of: given['of-srk'] === true ? 'srk' : 'owner',
    });
    print('changed');
  },
};

export const resetLock: Subcommand = {
  help: 'ends the defence against guessing',
  options: { owner: OPTIONS.owner },
  async run({ tpm, given, print }) {
    await tpm.execute(ResetLockValue, { ownerAuth: ownerSecret(given) });
    print('unlocked');
  },
};
