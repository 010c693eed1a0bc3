/** Policies that allow one template only (TPM2_PolicyTemplate): Part 3, 23.21. */
import { TPM_RC } from '@casemate/tpm';
import { isEqual } from './bytes.js';
import type { Invocation } from './handler.js';
import { refuse } from './refusal.js';
import type { Tpm } from './tpm.js';

/** Refuses where the policy session of the first handle is bound to another template than `template`. */
export function assertTemplateAllowed(tpm: Tpm, invocation: Invocation, template: Uint8Array): void {
  const session = invocation.authorizations[0]?.session;
  if (session?.type !== 'policy' || session.policy.bound?.kind !== 'template') return;
  const digest = tpm.crypto.hash(session.authHash, template);
  if (!isEqual(digest, session.policy.bound.digest)) refuse(TPM_RC.POLICY_FAIL);
}
