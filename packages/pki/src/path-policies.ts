/** Certificate policies along a path (RFC 5280 section 6.1 with the policy graph of RFC 9618, which no path can blow up). */
import type { Certificate } from './certificate.js';
import { isSelfIssued } from './certificate-rules.js';

/** The policy that stands for every other. */
const ANY_POLICY = '2.5.29.32.0';

/** What the caller wants of certificate policies (RFC 5280 6.1.1 (c) to (g)). */
export interface PolicyOptions {
  /** Dotted identifiers of the acceptable policies; any without it. */
  readonly policies?: readonly string[];
  /** Whether the path must have a policy even where no certificate asks for one; false without it. */
  readonly requireExplicitPolicy?: boolean;
  /** Whether policies of different domains may not be mapped; false without it. */
  readonly inhibitPolicyMapping?: boolean;
  /** Whether anyPolicy in a certificate means nothing; false without it. */
  readonly inhibitAnyPolicy?: boolean;
}

/**
 * One policy in force at the certificate reached. Of the graph only its last layer is kept: what lies above decides nothing but
 * which policies of the anchor's domain a node stands for.
 */
interface PolicyNode {
  readonly policy: string;
  /** What the next certificate may name to go on from here. */
  readonly expected: ReadonlySet<string>;
  /** The policies below the anchor that lead here. Unused at anyPolicy, to which anything leads. */
  readonly domain: ReadonlySet<string>;
}

type PolicyLayer = ReadonlyMap<string, PolicyNode>;

interface PolicyState {
  /** Empty once no policy is left. */
  layer: PolicyLayer;
  /** Certificates until each rule holds; 0 where it does. */
  explicitPolicy: number;
  policyMapping: number;
  inhibitAny: number;
}

/** The policies that a path is good for, in the anchor's domain ({@link ANY_POLICY} for any), or the certificate that breaks a rule. */
export type PolicyResult =
  | { readonly ok: true; readonly policies: readonly string[] }
  | { readonly ok: false; readonly certificate: Certificate; readonly message: string };

/** Processes the policies of `path`, leaf first, anchor last; the anchor's own extensions are not looked at. */
export function pathPolicies(path: readonly Certificate[], options: PolicyOptions): PolicyResult {
  const certificates = path.slice(0, -1).reverse();
  const never = certificates.length + 1;
  const state: PolicyState = {
    layer: new Map([[ANY_POLICY, anyNode]]),
    explicitPolicy: options.requireExplicitPolicy === true ? 0 : never,
    policyMapping: options.inhibitPolicyMapping === true ? 0 : never,
    inhibitAny: options.inhibitAnyPolicy === true ? 0 : never,
  };
  for (const [i, certificate] of certificates.entries()) {
    const isLast = i === certificates.length - 1;
    enterCertificate(state, certificate, isLast);
    if (state.explicitPolicy === 0 && state.layer.size === 0)
      return refusal(certificate, 'expected a policy, got none');
    const problem = isLast ? undefined : leaveCertificate(state, certificate);
    if (problem !== undefined) return refusal(certificate, problem);
  }
  return finish(state, path[0], options);
}

function refusal(certificate: Certificate, message: string): PolicyResult {
  return { ok: false, certificate, message };
}

/** 6.1.3 (d) and (e). */
function enterCertificate(state: PolicyState, certificate: Certificate, isLast: boolean): void {
  const named = certificate.certificatePolicies ?? [];
  const isAnyAllowed = state.inhibitAny > 0 || (!isLast && isSelfIssued(certificate));
  const above = parentsByPolicy(state.layer);
  const layer = new Map<string, PolicyNode>();
  for (const policy of named.filter((each) => each !== ANY_POLICY)) {
    const any = state.layer.get(ANY_POLICY);
    const parents = above.get(policy) ?? (any === undefined ? [] : [any]);
    if (parents.length > 0) layer.set(policy, childOf(policy, parents));
  }
  if (named.includes(ANY_POLICY) && isAnyAllowed) {
    for (const [policy, parents] of above) if (!layer.has(policy)) layer.set(policy, childOf(policy, parents));
  }
  state.layer = layer;
}

function parentsByPolicy(layer: PolicyLayer): ReadonlyMap<string, readonly PolicyNode[]> {
  const parents = new Map<string, PolicyNode[]>();
  for (const node of layer.values()) {
    for (const policy of node.expected) parents.set(policy, [...(parents.get(policy) ?? []), node]);
  }
  return parents;
}

function childOf(policy: string, parents: readonly PolicyNode[]): PolicyNode {
  if (policy === ANY_POLICY) return anyNode;
  const domains = parents.map((parent) => (parent.policy === ANY_POLICY ? [policy] : [...parent.domain]));
  return { policy, expected: new Set([policy]), domain: new Set(domains.flat()) };
}

/** 6.1.4 (a), (b) and (h) to (j). */
function leaveCertificate(state: PolicyState, certificate: Certificate): string | undefined {
  const problem = mapPolicies(state, certificate);
  if (problem !== undefined) return problem;
  if (!isSelfIssued(certificate)) {
    state.explicitPolicy = Math.max(0, state.explicitPolicy - 1);
    state.policyMapping = Math.max(0, state.policyMapping - 1);
    state.inhibitAny = Math.max(0, state.inhibitAny - 1);
  }
  const { requireExplicitPolicy = Infinity, inhibitPolicyMapping = Infinity } = certificate.policyConstraints ?? {};
  state.explicitPolicy = Math.min(state.explicitPolicy, requireExplicitPolicy);
  state.policyMapping = Math.min(state.policyMapping, inhibitPolicyMapping);
  state.inhibitAny = Math.min(state.inhibitAny, certificate.inhibitAnyPolicy ?? Infinity);
  return undefined;
}

function mapPolicies(state: PolicyState, { policyMappings = [] }: Certificate): string | undefined {
  const mapped = new Map<string, Set<string>>();
  for (const { issuerDomainPolicy, subjectDomainPolicy } of policyMappings) {
    if (issuerDomainPolicy === ANY_POLICY || subjectDomainPolicy === ANY_POLICY) {
      return 'expected mappings of policies, got one of anyPolicy';
    }
    mapped.set(issuerDomainPolicy, (mapped.get(issuerDomainPolicy) ?? new Set()).add(subjectDomainPolicy));
  }
  const layer = new Map(state.layer);
  for (const [policy, expected] of mapped) {
    const node = layer.get(policy) ?? (layer.has(ANY_POLICY) ? childOf(policy, [anyNode]) : undefined);
    if (state.policyMapping === 0) layer.delete(policy);
    else if (node !== undefined) layer.set(policy, { ...node, expected });
  }
  state.layer = layer;
  return undefined;
}

/** 6.1.5 (a), (b) and (g). */
function finish(state: PolicyState, leaf: Certificate | undefined, options: PolicyOptions): PolicyResult {
  const isRequired = state.explicitPolicy <= 1 || leaf?.policyConstraints?.requireExplicitPolicy === 0;
  const policies = acceptable(state.layer, options.policies);
  if (leaf !== undefined && isRequired && policies.length === 0) {
    return refusal(leaf, `expected one of the policies ${options.policies?.join(', ') ?? 'of the path'}, got none`);
  }
  return { ok: true, policies };
}

function acceptable(layer: PolicyLayer, wanted: readonly string[] | undefined): readonly string[] {
  const found = new Set<string>();
  for (const node of layer.values()) for (const policy of node.domain) found.add(policy);
  if (wanted === undefined || wanted.includes(ANY_POLICY))
    return [...found, ...(layer.has(ANY_POLICY) ? [ANY_POLICY] : [])];
  return wanted.filter((policy) => found.has(policy) || layer.has(ANY_POLICY));
}

const anyNode: PolicyNode = { policy: ANY_POLICY, expected: new Set([ANY_POLICY]), domain: new Set() };
