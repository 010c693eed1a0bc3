/** The differences from swtpm 0.7.1 (libtpms 0.9.2) that are left, each with its reason. README.md tells them in prose. */
import type { Difference } from './duel.js';

/** A difference that is known. */
export interface KnownDifference {
  /** What it is, and why it stays. */
  readonly reason: string;
  /** Is `difference` a case of it? */
  readonly explains: (difference: Difference) => boolean;
}

const code = (d: Difference): number => Number.parseInt(d.sent.slice(12, 20), 16);
const isHandleOf = (d: Difference, pattern: RegExp): boolean => pattern.test(d.sent.slice(20, 44));

/** All that random commands may show. */
export const KNOWN_DIFFERENCES: readonly KnownDifference[] = [
  {
    reason: 'TPM2_CertifyX509 is not implemented: it answers TPM_RC_COMMAND_CODE',
    explains: (d) => code(d) === 0x197 && d.ours === 0x143,
  },
  {
    reason: 'so it is neither in the list of commands nor in their number, and cannot be audited',
    explains: (d) => d.command === 'GetCapability' && d.ours === -1,
  },
  {
    reason:
      'a persistent object needs no transient slot: swtpm loads it into one first, and is full (TPM_RC_OBJECT_MEMORY) earlier',
    explains: (d) => d.theirs === 0x902 && isHandleOf(d, /81[0-9a-f]{6}/),
  },
  {
    reason: 'and while it is there, a transient handle of the same command names it',
    explains: (d) =>
      d.ours >= 0x910 && d.ours <= 0x912 && isHandleOf(d, /81[0-9a-f]{6}/) && isHandleOf(d, /8000000[0-2]/),
  },
  {
    reason:
      'RSA decryption of what has no valid padding is TPM_RC_VALUE, as Part 3 has it; swtpm answers TPM_RC_FAILURE',
    explains: (d) => d.command === 'RSA_Decrypt' && d.theirs === 0x101,
  },
  {
    reason: 'AES-192 is there; swtpm 0.7.1 refuses it',
    explains: (d) => d.ours === 0 && (d.theirs & 0xff) === 0xc4 && d.sent.includes('000600c0'),
  },
  {
    reason: 'a PCR bitmap that is both too long and cut off is told to be cut off; swtpm looks at its length first',
    explains: (d) => d.command.startsWith('PCR_') && (d.ours & 0xff) === 0xda && (d.theirs & 0xff) === 0xc4,
  },
];
