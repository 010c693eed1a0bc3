/** The ciphers of old PKCS#12 files, for reading alone: 3DES of OpenSSL, and RC2 (RFC 2268), which OpenSSL 3 has no more. */
import { createDecipheriv } from 'node:crypto';
import { PkiError } from './error.js';
import type { LegacyCiphers } from './pkcs12.js';

/** For the option `legacy` of `parsePkcs12`. RC2 with 40 bits protects nothing: write such a file anew. */
export const legacyCiphers: LegacyCiphers = {
  decrypt(cipher, key, iv, data) {
    if (cipher === 'rc2') return decryptRc2(key, iv, data);
    const decipher = createDecipheriv('des-ede3-cbc', key, iv).setAutoPadding(false);
    return new Uint8Array(Buffer.concat([decipher.update(data), decipher.final()]));
  },
};

/** RC2 in CBC mode, its effective key as long as its key. */
function decryptRc2(key: Uint8Array, iv: Uint8Array, data: Uint8Array): Uint8Array {
  if (key.length < 1 || key.length > 128 || iv.length !== 8 || data.length % 8 !== 0) {
    throw new PkiError('bad-input', 'decrypt RC2: expected a key, an IV of 8 bytes and whole blocks, got others');
  }
  const expanded = expandKey(key);
  const plain = new Uint8Array(data.length);
  for (let at = 0; at < data.length; at += 8) {
    const block = decryptBlock(expanded, data.subarray(at, at + 8));
    for (let i = 0; i < 8; i++) plain[at + i] = (block[i] ?? 0) ^ ((at === 0 ? iv[i] : data[at - 8 + i]) ?? 0);
  }
  return plain;
}

/** RFC 2268 section 2: 64 words of 16 bits. */
function expandKey(key: Uint8Array): Uint16Array {
  const bytes = new Uint8Array(128);
  bytes.set(key);
  for (let i = key.length; i < 128; i++) bytes[i] = pi((bytes[i - 1] ?? 0) + (bytes[i - key.length] ?? 0));
  bytes[128 - key.length] = pi(bytes[128 - key.length] ?? 0);
  for (let i = 127 - key.length; i >= 0; i--) bytes[i] = pi((bytes[i + 1] ?? 0) ^ (bytes[i + key.length] ?? 0));
  return Uint16Array.from({ length: 64 }, (_, i) => (bytes[2 * i] ?? 0) | ((bytes[2 * i + 1] ?? 0) << 8));
}

/** RFC 2268 section 4. */
function decryptBlock(key: Uint16Array, block: Uint8Array): Uint8Array {
  const words = Uint16Array.from({ length: 4 }, (_, i) => (block[2 * i] ?? 0) | ((block[2 * i + 1] ?? 0) << 8));
  for (let round = 15; round >= 0; round--) {
    reverseMix(words, key, 4 * round);
    if (round === 11 || round === 5) reverseMash(words, key);
  }
  return Uint8Array.from({ length: 8 }, (_, i) => ((words[i >> 1] ?? 0) >> (8 * (i & 1))) & 0xff);
}

const ROTATIONS = [1, 2, 3, 5] as const;

function reverseMix(words: Uint16Array, key: Uint16Array, first: number): void {
  for (let i = 3; i >= 0; i--) {
    const rotation = ROTATIONS[i] ?? 0;
    const word = words[i] ?? 0;
    const turned = ((word >>> rotation) | (word << (16 - rotation))) & 0xffff;
    const [one, two, three] = [words[(i + 3) % 4] ?? 0, words[(i + 2) % 4] ?? 0, words[(i + 1) % 4] ?? 0];
    words[i] = turned - (key[first + i] ?? 0) - (one & two) - (~one & three);
  }
}

function reverseMash(words: Uint16Array, key: Uint16Array): void {
  for (let i = 3; i >= 0; i--) words[i] = (words[i] ?? 0) - (key[(words[(i + 3) % 4] ?? 0) & 63] ?? 0);
}

/** The table of RFC 2268 section 2, from the digits of pi. */
const PI = Buffer.from(
  'd978f9c419ddb5ed28e9fd794aa0d89dc67e37832b76538e624c6488448bfba2' +
    '179a59f587b34f1361456d8d09817d32bd8f40eb86b77b0bf09521225c6b4e82' +
    '54d66593ce60b21c7356c014a78cf1dc1275ca1f3bbee4d1423dd430a33cb626' +
    '6fbf0eda4669075727f21d9bbc944303f811c7f690ef3ee706c3d52fc8661ed7' +
    '08e8eade8052eef784aa72ac354d6a2a961ad2715a1549744b9fd05e0418a4ec' +
    'c2e0416e0f51cbcc2491af50a1f47039997c3a8523b8b47afc02365b25559731' +
    '2d5dfa98e38a92ae05df2910676cbac9d300e6cfe19ea82c6316013f58e289a9' +
    '0d38341bab33ffb0bb480c5fb9b1cd2ec5f3db47e5a59c770aa62068fe7fc1ad',
  'hex',
);

function pi(index: number): number {
  return PI[index & 0xff] ?? 0;
}
