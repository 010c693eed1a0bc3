/** What a TPM is, its start, and random bytes. */
import {
  enable12,
  GetRandom,
  hasOwner,
  readPermanentFlags,
  readProperty,
  readStclearFlags,
  readVersion,
  SelfTestFull,
  StirRandom,
  startup12,
  TPM_CAP_PROP,
} from '@casemate/tpm/tpm12';
import { hex, may, type Subcommand, toNumber } from '../command.js';

export const tpmVersion: Subcommand = {
  help: 'prints version and vendor',
  options: {},
  async run({ tpm, print }) {
    const { version, specLevel, errataRev, tpmVendorID } = await readVersion(tpm);
    print(`TPM version  : ${version.major}.${version.minor}.${version.revMajor}.${version.revMinor}`);
    print(`specification: level ${specLevel}, errata ${errataRev}`);
    print(`vendor       : ${new TextDecoder().decode(tpmVendorID).replace(/\0/g, '')}`);
  },
};

export const tpmInfo: Subcommand = {
  help: 'prints what the TPM has room for, and whether it has an owner',
  options: {},
  async run({ tpm, print }) {
    print(`owner        : ${(await hasOwner(tpm)) ? 'yes' : 'no'}`);
    print(`PCRs         : ${await readProperty(tpm, TPM_CAP_PROP.PCR)}`);
    print(`free keys    : ${await readProperty(tpm, TPM_CAP_PROP.KEYS)}`);
    print(`free sessions: ${await readProperty(tpm, TPM_CAP_PROP.AUTHSESS)}`);
  },
};

export const tpmFlags: Subcommand = {
  help: 'prints the permanent and volatile flags',
  options: {},
  async run({ tpm, print }) {
    const flags = { ...(await readPermanentFlags(tpm)), ...(await readStclearFlags(tpm)) };
    for (const [name, value] of Object.entries(flags)) if (typeof value === 'boolean') print(`${name}: ${value}`);
  },
};

export const startup: Subcommand = {
  help: 'starts a TPM that no firmware has started, such as a simulator',
  options: {},
  run: ({ tpm }) => startup12(tpm),
};

export const enable: Subcommand = {
  help: 'enables and activates the TPM under physical presence by command; with swtpm restarts it too',
  options: {},
  async run({ tpm, control }) {
    await enable12(tpm);
    if (control === undefined) return;
    await control.initialize();
    await startup12(tpm);
  },
};

export const selfTest: Subcommand = {
  help: 'has the TPM test itself',
  options: {},
  async run({ tpm, print }) {
    await tpm.execute(SelfTestFull, {});
    print('passed');
  },
};

export const random: Subcommand = {
  help: 'prints random bytes in hexadecimal',
  options: {
    size: { type: 'string', help: 'how many (default 20)' },
    stir: { type: 'string', help: 'text to add to the entropy first' },
  },
  async run({ tpm, given, print }) {
    const stir = may(given, 'stir');
    if (stir !== undefined) await tpm.execute(StirRandom, { inData: new TextEncoder().encode(stir) });
    const size = toNumber(may(given, 'size') ?? '20', 'size');
    let text = '';
    while (text.length < 2 * size) {
      const bytesRequested = size - text.length / 2;
      text += hex((await tpm.execute(GetRandom, { bytesRequested })).randomBytes);
    }
    print(text);
  },
};
