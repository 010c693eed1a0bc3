/** Random numbers and SHA-1. TPM 1.2 Main Part 3, clause 13. */
import { u32 } from '@casemate/wire';
import { command12 } from '../command.js';
import { TPM_ORD } from '../ordinals.js';
import { sizedData, TpmDigest } from '../structures/base.js';

/** Starts a SHA-1 calculation; `maxNumBytes` is how much fits into one update. TPM 1.2 Part 3, clause 13.1. */
export const Sha1Start = command12({
  name: 'TPM_SHA1Start',
  ordinal: TPM_ORD.SHA1Start,
  response: { maxNumBytes: u32 },
});

/** Continues a SHA-1 calculation by a multiple of 64 bytes. TPM 1.2 Part 3, clause 13.2. */
export const Sha1Update = command12({
  name: 'TPM_SHA1Update',
  ordinal: TPM_ORD.SHA1Update,
  parameters: { hashData: sizedData('hashData') },
});

/** Ends a SHA-1 calculation by at most 64 bytes. TPM 1.2 Part 3, clause 13.3. */
export const Sha1Complete = command12({
  name: 'TPM_SHA1Complete',
  ordinal: TPM_ORD.SHA1Complete,
  parameters: { hashData: sizedData('hashData', 64) },
  response: { hashValue: TpmDigest },
});

/** Random bytes, perhaps fewer than were asked for. TPM 1.2 Part 3, clause 13.6. */
export const GetRandom = command12({
  name: 'TPM_GetRandom',
  ordinal: TPM_ORD.GetRandom,
  parameters: { bytesRequested: u32 },
  response: { randomBytes: sizedData('randomBytes') },
});

/** Adds entropy, at most 255 bytes. TPM 1.2 Part 3, clause 13.7. */
export const StirRandom = command12({
  name: 'TPM_StirRandom',
  ordinal: TPM_ORD.StirRandom,
  parameters: { inData: sizedData('inData', 255) },
});
