/** The differences from swtpm 0.7.1 (libtpms 0.9.2) that are left, each with its reason. README.md tells them in prose. */
import type { Difference } from './duel.js';

/** A difference that is known. */
export interface KnownDifference {
  /** What it is, and why it stays. */
  readonly reason: string;
  /** Is `difference` a case of it? */
  readonly explains: (difference: Difference) => boolean;
  /** May it be missing from a long run? */
  readonly isRare?: true;
}

const code = (d: Difference): number => Number.parseInt(d.sent.slice(12, 20), 16);
const isHandleOf = (d: Difference, pattern: RegExp): boolean => pattern.test(d.sent.slice(20, 44));

const handleOf = (answer: string): string => answer.slice(20, 28);

/** All that random commands may show. */
export const KNOWN_DIFFERENCES: readonly KnownDifference[] = [
  {
    reason: 'an extension whose BIT STRING ends behind the OCTET STRING around it is refused; swtpm reads on',
    isRare: true,
    explains: (d) => code(d) === 0x197 && d.ours === 0x3c4 && d.theirs === 0,
  },
  {
    reason: 'manufacturer, vendor strings and firmware version are its own',
    isRare: true,
    explains: (d) => d.command === 'GetCapability' && d.ours === -1 && isAboutVendor(d),
  },
  {
    reason:
      'a persistent object needs no transient slot: swtpm loads it into one first, and is full (TPM_RC_OBJECT_MEMORY) earlier',
    explains: (d) => d.theirs === 0x902 && isHandleOf(d, /81[0-9a-f]{6}/),
  },
  {
    reason: 'and while it is there, a transient handle of the same command names it',
    isRare: true,
    explains: (d) =>
      d.ours >= 0x910 && d.ours <= 0x912 && isHandleOf(d, /81[0-9a-f]{6}/) && isHandleOf(d, /8000000[0-2]/),
  },
  {
    reason: 'and while it is there, an object that the command loads gets the slot behind it',
    isRare: true,
    explains: (d) => d.ours === -1 && isHandleOf(d, /81[0-9a-f]{6}/) && handleOf(d.answers[0]) < handleOf(d.answers[1]),
  },
  {
    reason:
      'RSA decryption of what has no valid padding is TPM_RC_VALUE, as Part 3 has it; swtpm answers TPM_RC_FAILURE',
    isRare: true,
    explains: (d) => d.command === 'RSA_Decrypt' && d.theirs === 0x101,
  },
  {
    reason: 'AES-192 is there; swtpm 0.7.1 refuses it, before it looks at what follows',
    explains: (d) => (d.theirs & 0xff) === 0xc4 && d.sent.includes('000600c0'),
  },
  {
    reason: 'a PCR bitmap that is both too long and cut off is told to be cut off; swtpm looks at its length first',
    isRare: true,
    explains: (d) => (d.ours & 0xff) === 0xda && d.theirs === d.ours - 0xda + 0xc4,
  },
  {
    reason: 'and being full it does not get to see a wrong authorization value, so that it goes into lockout later',
    isRare: true,
    explains: (d) => d.ours === 0x921 && [0, 0x98e, 0xa8e].includes(d.theirs),
  },
  {
    reason: 'TPM2_Duplicate by an HMAC session is TPM_RC_AUTH_TYPE; swtpm may go into failure mode',
    isRare: true,
    explains: (d) => code(d) === 0x14b && d.ours === 0x124 && d.theirs === 0x101,
  },
  {
    reason: 'of SM3_256, which neither has, and bytes too many behind it, those bytes are told; swtpm tells the hash',
    isRare: true,
    explains: (d) => d.ours === 0x95 && (d.theirs & 0xff) === 0xc3 && d.sent.includes('0012'),
  },
  {
    reason:
      'what the first, partial write of a PIN index leaves out reads as ones; swtpm shows what was in that memory before',
    isRare: true,
    explains: (d) => (d.command === 'NV_Read' || d.command === 'PolicyNV') && isAboutUnwritten(d),
  },
  {
    reason: 'auditExclusive or auditReset of a session that does not audit is TPM_RC_ATTRIBUTES; swtpm takes no notice',
    isRare: true,
    explains: (d) => [0x982, 0xa82, 0xb82].includes(d.ours),
  },
  {
    reason:
      'a derived object has no private area that its parent could wrap: TPM2_ObjectChangeAuth refuses it, swtpm gives it unencrypted',
    isRare: true,
    explains: (d) => d.command === 'ObjectChangeAuth' && d.ours === 0x28a && d.theirs === 0,
  },
  {
    reason:
      'a counter begins above every count that an index has or had; swtpm above those of indexes that were removed, or that it started with',
    isRare: true,
    explains: (d) => d.command === 'NV_Read' && d.ours === -1 && isAboutFirstCount(d),
  },
  {
    reason:
      'a sized buffer that is cut off is told to be cut off, or to be too long, by limits that in swtpm are the sizes of structures in C',
    isRare: true,
    explains: (d) =>
      Math.abs(d.ours - d.theirs) === 5 && [d.ours, d.theirs].every((answer) => [0xd5, 0xda].includes(answer & 0xff)),
  },
];

// The values of the properties TPM_PT_MANUFACTURER to TPM_PT_FIRMWARE_VERSION_2 are all that differs.
function isAboutVendor({ answers }: Difference): boolean {
  const [mine, other] = answers.map((answer) => answer.replaceAll(/(?<=0000010[5-9a-c]).{8}/g, ''));
  return mine === other;
}

// The bytes that differ are ones here, or zeros of a count that a right PIN has reset, or it is the limit that such bytes make for the index's own use, or a comparison with them.
function isAboutUnwritten({ command, ours, theirs, sent, answers: [mine, other] }: Difference): boolean {
  if (command === 'PolicyNV') return ours + theirs === 0x126;
  if (ours !== -1) return (ours === 0x12f || theirs === 0x12f) && sent.slice(20, 28) === sent.slice(28, 36);
  const pairs = (mine.match(/../g) ?? []).map((byte, i) => [byte, other.slice(2 * i, 2 * i + 2)] as const);
  return mine.length === other.length && pairs.every(([byte, its]) => byte === its || byte === 'ff' || byte === '00');
}

// Both answered a part of a small count, ours of a higher one.
function isAboutFirstCount({ answers: [mine, other] }: Difference): boolean {
  const [count, its] = [mine, other].map((answer) => Number.parseInt(answer.slice(32, -10), 16));
  return mine.length === other.length && count !== undefined && its !== undefined && its < count && count < 0x10000;
}
