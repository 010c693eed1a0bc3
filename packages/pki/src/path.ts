/** Certification path building and validation (RFC 5280 section 6, RFC 4158 for the building). */
import { parseSignatureIdentifier } from './algorithm.js';
import { equalBytes } from './bytes.js';
import { asCertificate, type Certificate, type CertificateInput } from './certificate.js';
import { certificateProblem, isSelfIssued, mayHaveIssued } from './certificate-rules.js';
import { type Crl, parseCrl } from './crl.js';
import { PkiError } from './error.js';
import { nameText, sameName } from './name.js';
import { type ComparisonBudget, nameConstraintProblem } from './name-constraints.js';
import { ocspStatus } from './ocsp.js';
import { type PolicyOptions, pathPolicies } from './path-policies.js';
import { type PathProblem, problemOf } from './path-problem.js';
import { isForName, type PeerName } from './peer-name.js';
import { issuerPurposeProblem, leafPurposeProblem, type Purpose } from './purpose.js';
import { type RevocationStatus, revocationStatus } from './revocation.js';
import { verifySignature } from './signature.js';

/** What a path must be good for. */
export interface PathOptions {
  /** What the leaf's key is to be used for. */
  readonly purpose: Purpose;
  /** The moment of validation. */
  readonly time: Date;
  /** The name that the leaf must be for; any without it. */
  readonly name?: PeerName;
  /**
   * CRLs and delta CRLs, DER or already read. Where there is one of an issuer in the path, the newest decides; where none of them
   * may be used, that is a refusal.
   */
  readonly crls?: readonly (Uint8Array | Crl)[];
  /** OCSP answers, DER, as a TLS peer staples them. One that can be used counts beside CRLs; `revoked` wins. */
  readonly ocspResponses?: readonly Uint8Array[];
  /** Whether of every certificate under an anchor a usable CRL or OCSP answer must tell the status. */
  readonly requireCrl?: boolean;
  /** What certificate policies the path must have; without it only what the certificates themselves demand. */
  readonly policy?: PolicyOptions;
  /** How many intermediates that are not self-issued there may be; 8 without it. */
  readonly maxDepth?: number;
}

/**
 * A path from the leaf to the anchor, both included, with the policies that it is good for (dotted identifiers in the anchor's
 * domain, 2.5.29.32.0 for any), or the reason why there is none.
 */
export type PathResult =
  | { readonly ok: true; readonly path: readonly Certificate[]; readonly policies: readonly string[] }
  | { readonly ok: false; readonly problem: PathProblem };

/** Bounds on what a hostile set of certificates can cost: certificates in one path, signatures and names compared in all. */
const MAX_PATH = 32;
const MAX_SIGNATURES = 256;
const MAX_COMPARISONS = 250_000;

interface Search {
  readonly intermediates: readonly Certificate[];
  readonly anchors: readonly Certificate[];
  readonly crls: readonly Crl[];
  readonly options: PathOptions;
  readonly budget: { signatures: number };
  readonly comparisons: ComparisonBudget;
  /** Whether this looks for the path of a CRL's signer: only what the issuers' own keys sign can then revoke. */
  readonly isForCrl: boolean;
  /** The refusal of the path that came furthest. */
  worst: { readonly rank: number; readonly problem: PathProblem } | undefined;
}

/**
 * Looks for a path from `leaf` through `intermediates` to one of `anchors` that is acceptable, and says why there is none.
 * Everything but the anchors is untrusted, the order does not matter, and a certificate that cannot be read is passed over unless it
 * is the leaf. An anchor's own validity and constraints count, but for its policies, which RFC 5280 6.1 leaves out.
 * Throws {@link PkiError} `bad-input` for malformed options, `malformed` for a CRL that cannot be read.
 */
export async function validatePath(
  leaf: CertificateInput,
  intermediates: readonly CertificateInput[],
  anchors: readonly CertificateInput[],
  options: PathOptions,
): Promise<PathResult> {
  const certificate = readable(leaf);
  if (certificate instanceof PkiError) return refuse({ code: 'malformed', message: certificate.message, subject: '' });
  const alone = leafProblem(certificate, options);
  if (alone !== undefined) return refuse(alone);
  const search: Search = {
    intermediates: allReadable(intermediates),
    anchors: allReadable(anchors),
    crls: (options.crls ?? []).map((each) => (each instanceof Uint8Array ? parseCrl(each) : each)),
    options,
    budget: { signatures: MAX_SIGNATURES },
    comparisons: { left: MAX_COMPARISONS },
    isForCrl: false,
    worst: undefined,
  };
  const path = await extend([certificate], search);
  if (path === undefined) return refuse(search.worst?.problem ?? noPath(certificate));
  const result = pathPolicies(path, options.policy ?? {});
  return { ok: true, path, policies: result.ok ? result.policies : [] };
}

function refuse(problem: PathProblem): PathResult {
  return { ok: false, problem };
}

function readable(input: CertificateInput): Certificate | PkiError {
  try {
    return asCertificate(input);
  } catch (error) {
    if (error instanceof PkiError) return error;
    throw error;
  }
}

function allReadable(inputs: readonly CertificateInput[]): readonly Certificate[] {
  return inputs.map(readable).filter((each): each is Certificate => !(each instanceof PkiError));
}

function leafProblem(leaf: Certificate, options: PathOptions): PathProblem | undefined {
  const problem = certificateProblem(leaf, 'leaf', options.time) ?? leafPurposeProblem(leaf, options.purpose);
  if (problem !== undefined) return problem;
  if (options.name === undefined || isForName(leaf, options.name)) return undefined;
  return problemOf(
    leaf,
    'name-mismatch',
    `expected the alternative name ${Object.values(options.name)[0]}, got others`,
  );
}

/** Depth first, anchors before intermediates; every step is bounded by the search's budgets. */
async function extend(path: readonly Certificate[], search: Search): Promise<readonly Certificate[] | undefined> {
  const last = path.at(-1);
  if (last === undefined || path.length > MAX_PATH) return undefined;
  for (const anchor of search.anchors.filter((each) => mayHaveIssued(each, last))) {
    if (!(await accept(anchor, 'anchor', last, path, search))) continue;
    const whole = [...path, anchor];
    const problem = await pathProblem(whole, search);
    if (problem === undefined) return whole;
    remember(search, 1000 + whole.length, problem);
  }
  for (const next of search.intermediates.filter((each) => mayHaveIssued(each, last) && !isRepeated(each, path))) {
    if (search.budget.signatures <= 0) break;
    if (!(await accept(next, 'intermediate', last, path, search))) continue;
    if (depthOf([...path, next]) > maxDepth(search)) {
      remember(
        search,
        path.length,
        problemOf(next, 'path-length', `expected at most ${maxDepth(search)} intermediates, got more`),
      );
      continue;
    }
    const found = await extend([...path, next], search);
    if (found !== undefined) return found;
  }
  if (search.worst === undefined || search.worst.rank < path.length) remember(search, path.length, noPath(last));
  return undefined;
}

function maxDepth(search: Search): number {
  return search.options.maxDepth ?? 8;
}

/** Whether `issuer` may stand above `last`: its own rules first, as they cost less than a signature. */
async function accept(
  issuer: Certificate,
  role: 'anchor' | 'intermediate',
  last: Certificate,
  path: readonly Certificate[],
  search: Search,
): Promise<boolean> {
  const problem =
    certificateProblem(issuer, role, search.options.time) ?? issuerPurposeProblem(issuer, search.options.purpose);
  if (problem !== undefined) {
    remember(search, path.length + 0.5, problem);
    return false;
  }
  if (search.budget.signatures <= 0) {
    remember(
      search,
      2000,
      problemOf(last, 'too-complex', `expected a path within ${MAX_SIGNATURES} signatures, got none`),
    );
    return false;
  }
  search.budget.signatures -= 1;
  if (await isSignedBy(last, issuer)) return true;
  remember(
    search,
    path.length + 0.5,
    problemOf(last, 'bad-signature', `expected a signature of ${nameText(issuer.subject)}, got another`),
  );
  return false;
}

async function isSignedBy(certificate: Certificate, issuer: Certificate): Promise<boolean> {
  try {
    const scheme = parseSignatureIdentifier(certificate.signatureAlgorithm, 'signatureAlgorithm');
    return await verifySignature(issuer.publicKey, scheme, certificate.tbs, certificate.signature);
  } catch (error) {
    if (error instanceof PkiError) return false;
    throw error;
  }
}

/** The same name with the same key again leads nowhere that the first did not (RFC 4158 section 5.2). */
function isRepeated(candidate: Certificate, path: readonly Certificate[]): boolean {
  return path.some(
    (each) => equalBytes(each.publicKey, candidate.publicKey) && equalBytes(each.subject.der, candidate.subject.der),
  );
}

/** The number of intermediates in a path without its anchor, not counting self-issued ones. */
function depthOf(path: readonly Certificate[]): number {
  return path.slice(1).filter((each) => !isSelfIssued(each)).length;
}

function remember(search: Search, rank: number, problem: PathProblem): void {
  if (search.worst === undefined || rank > search.worst.rank) search.worst = { rank, problem };
}

function noPath(certificate: Certificate): PathProblem {
  return problemOf(
    certificate,
    'no-path',
    `expected a certificate of its issuer ${nameText(certificate.issuer)}, got none`,
  );
}

/** The rules that only a whole path can break. */
async function pathProblem(path: readonly Certificate[], search: Search): Promise<PathProblem | undefined> {
  return (
    pathLengthProblem(path) ??
    namesProblem(path, search) ??
    policiesProblem(path, search.options) ??
    (await revocationProblem(path, search))
  );
}

function policiesProblem(path: readonly Certificate[], { policy = {} }: PathOptions): PathProblem | undefined {
  const result = pathPolicies(path, policy);
  return result.ok ? undefined : problemOf(result.certificate, 'policy', result.message);
}

/** RFC 5280 6.1.4 (l) and (m), for the anchor as well. */
function pathLengthProblem(path: readonly Certificate[]): PathProblem | undefined {
  for (const [i, certificate] of path.entries()) {
    const limit = certificate.basicConstraints?.pathLength;
    if (i === 0 || limit === undefined) continue;
    const below = depthOf(path.slice(0, i));
    if (below > limit)
      return problemOf(certificate, 'path-length', `expected at most ${limit} CAs below it, got ${below}`);
  }
  return undefined;
}

/** RFC 5280 6.1.3 (b) and (c): self-issued certificates are exempt unless they are the leaf. */
function namesProblem(path: readonly Certificate[], search: Search): PathProblem | undefined {
  for (const [i, issuer] of path.entries()) {
    const constraints = issuer.nameConstraints;
    if (i === 0 || constraints === undefined) continue;
    for (const [j, certificate] of path.slice(0, i).entries()) {
      if (j > 0 && isSelfIssued(certificate)) continue;
      const problem = nameConstraintProblem(certificate, constraints, search.comparisons);
      if (problem === 'too-complex')
        return problemOf(issuer, 'too-complex', `expected at most ${MAX_COMPARISONS} comparisons of names`);
      if (problem !== undefined)
        return problemOf(certificate, 'name-constraints', `${problem} (from ${nameText(issuer.subject)})`);
    }
  }
  return undefined;
}

async function revocationProblem(path: readonly Certificate[], search: Search): Promise<PathProblem | undefined> {
  const { options } = search;
  const anchor = path.at(-1);
  for (const [i, certificate] of path.entries()) {
    const issuer = path[i + 1];
    if (issuer === undefined || anchor === undefined) break;
    const answer = await currentStatus(certificate, issuer, { ...search, anchors: [anchor] });
    // The list that would tell of its own signer cannot be used before the signer is.
    if (search.isForCrl && answer.status !== 'revoked') continue;
    if (answer.status === 'revoked') {
      return problemOf(
        certificate,
        'revoked',
        `expected a certificate in force, got one revoked at ${answer.since.toISOString()} (${answer.reason})`,
      );
    }
    if (answer.status === 'unusable') return problemOf(certificate, 'revocation-unknown', answer.reason);
    if (answer.status === 'no-crl' && options.requireCrl === true) {
      return problemOf(
        certificate,
        'revocation-unknown',
        `expected a CRL of ${nameText(certificate.issuer)}, got none`,
      );
    }
  }
  return undefined;
}

/** Revoked is what any usable source says; good is what one says and none contradicts. */
async function currentStatus(certificate: Certificate, issuer: Certificate, search: Search): Promise<RevocationStatus> {
  const { options } = search;
  const stapled = await stapledStatus(certificate, issuer, options);
  if (stapled?.status === 'revoked') return stapled;
  const listed = await revocationStatus(certificate, await crlSigners(issuer, search), search.crls, options.time);
  return listed.status === 'revoked' ? listed : (stapled ?? listed);
}

/**
 * RFC 5280 6.3.3 (f): a CA may sign its CRLs with another key than its certificates, an old or a new one or one for this alone.
 * Such a key counts where its certificate has a path to the same anchor, which is the only one of `search` here: under another anchor
 * the same name may be another CA's.
 */
async function crlSigners(issuer: Certificate, search: Search): Promise<readonly Certificate[]> {
  const signers = [issuer];
  if (search.isForCrl || !search.crls.some((each) => sameName(each.issuer, issuer.subject))) return signers;
  const others = [...search.intermediates, ...search.anchors].filter(
    (each) => sameName(each.subject, issuer.subject) && !equalBytes(each.publicKey, issuer.publicKey),
  );
  for (const each of others) if (await isInForce(each, search)) signers.push(each);
  return signers;
}

/** Whether the certificate of a CRL's signer is itself acceptable now. */
async function isInForce(signer: Certificate, search: Search): Promise<boolean> {
  if (search.anchors.includes(signer)) return true;
  if (certificateProblem(signer, 'leaf', search.options.time) !== undefined) return false;
  return (await extend([signer], { ...search, isForCrl: true, worst: undefined })) !== undefined;
}

/** What the OCSP answers tell; one that cannot be used is as if it were not there. An older `good` does not hide a `revoked`. */
async function stapledStatus(
  certificate: Certificate,
  issuer: Certificate,
  { ocspResponses = [], time }: PathOptions,
): Promise<RevocationStatus | undefined> {
  let found: RevocationStatus | undefined;
  for (const response of ocspResponses) {
    const answer = await ocspStatus(certificate, issuer, response, { time });
    if (answer.status === 'revoked') return answer;
    if (answer.status === 'good') found = answer;
  }
  return found;
}
