/**
 * Signed documents in trust|me's format: the raw RSA signature with SHA-512 over a file, in a file `.sig`, and beside it the signer's
 * certificate and chain as PEM in a file `.cert` (what `openssl dgst -sha512 -sign` makes and `-verify` takes; RFC 8017 section 8).
 */
import { parsePublicKey, type SignatureScheme } from './algorithm.js';
import { asCertificate, type Certificate } from './certificate.js';
import type { DocumentOptions, DocumentProblemCode, DocumentResult, DocumentSigner } from './document.js';
import { PkiError } from './error.js';
import { assertSignerOf, signChecked, signerScheme } from './key.js';
import { nameText } from './name.js';
import { validatePath } from './path.js';
import { encodePem, parsePem } from './pem.js';
import { verifySignature } from './signature.js';

/** The two files beside a document. */
export interface RawSignature {
  /** The contents of `.sig`. */
  readonly signature: Uint8Array;
  /** The contents of `.cert`: PEM, the signer first. */
  readonly certificates: string;
}

/**
 * Signs `content`. trust|me signs with RSA-PSS and a salt as long as the digest (`rsapss-…-sha512`); its verifier takes PKCS#1 v1.5
 * (`rsassa-…-sha512`) where the certificate's key is plain RSA.
 * Throws {@link PkiError}: `bad-input` for another algorithm or without a chain, `key-mismatch`, `bad-signature`.
 */
export async function signRawDocument(
  content: Uint8Array,
  options: Omit<DocumentSigner, 'time'>,
): Promise<RawSignature> {
  const chain = options.chain.map(asCertificate);
  const [own] = chain;
  if (own === undefined)
    throw new PkiError('bad-input', 'sign document: expected a chain with the signer first, got none');
  const { algorithm } = options.signer;
  if (!/^rsa(pss|ssa)-\d+-sha512$/.test(algorithm)) {
    throw new PkiError('bad-input', `sign document: expected an RSA key that signs with SHA-512, got ${algorithm}`);
  }
  assertSignerOf(options.signer, own.publicKey, nameText(own.subject));
  signerScheme(options.signer);
  const signature = await signChecked(options.signer, content, 'document');
  return { signature, certificates: chain.map(({ der }) => encodePem('CERTIFICATE', der)).join('') };
}

/**
 * Verifies the signature over `content` and the signer's path. A document that is not acceptable is an answer, not an exception.
 * Throws {@link PkiError} only where the options are unusable (as `validatePath` does).
 */
export async function verifyRawDocument(
  content: Uint8Array,
  { signature, certificates }: RawSignature,
  options: DocumentOptions,
): Promise<DocumentResult> {
  const chain = readChain(certificates);
  if ('problem' in chain) return { ok: false, problem: chain.problem };
  const { signer, others } = chain;
  if (!(await isSigned(signer, content, signature))) {
    return refusal('signature', `expected a signature of ${nameText(signer.subject)}, got one that does not verify`);
  }
  const { anchors, purpose = 'code-signing', intermediates = [], ...rest } = options;
  const result = await validatePath(signer, [...others, ...intermediates], anchors, { ...rest, purpose });
  if (!result.ok) {
    return { ok: false, problem: { code: 'path', message: result.problem.message, path: result.problem } };
  }
  return { ok: true, signer, path: result.path };
}

function refusal(code: DocumentProblemCode, message: string) {
  return { ok: false as const, problem: { code, message: `verify document: ${message}` } };
}

function readChain(pem: string) {
  try {
    const [signer, ...others] = parsePem(pem)
      .filter(({ label }) => label === 'CERTIFICATE')
      .map(({ der }) => asCertificate(der));
    if (signer === undefined) return refusal('certificate', "expected the signer's certificate, got none");
    if (parsePublicKey(signer.publicKey).kind !== 'rsa')
      return refusal('unsupported', 'expected an RSA key, got another');
    return { signer, others };
  } catch (error) {
    if (!(error instanceof PkiError)) throw error;
    return refusal(error.code === 'unsupported' ? 'unsupported' : 'malformed', error.message);
  }
}

/** A key that is bound to PSS verifies nothing else; `verifySignature` sees to that. */
async function isSigned(signer: Certificate, content: Uint8Array, signature: Uint8Array): Promise<boolean> {
  const schemes: readonly SignatureScheme[] = [
    { kind: 'rsapss', hash: 'sha512', saltLength: 64 },
    { kind: 'rsassa', hash: 'sha512' },
  ];
  for (const scheme of schemes) if (await verifySignature(signer.publicKey, scheme, content, signature)) return true;
  return false;
}
