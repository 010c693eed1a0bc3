/** The append-only audit log: entries, Merkle proofs, signed checkpoints. Pure; `@casemate/pki/node` has the file. */
export {
  type AuditEntry,
  type AuditEvent,
  type AuditExpectation,
  type AuditLog,
  type AuditLogOptions,
  type AuditProblemCode,
  type AuditResult,
  type AuditSource,
  type AuditStore,
  type AuditValue,
  encodeAuditEntry,
  memoryAuditStore,
  openAuditLog,
  parseAuditEntry,
  verifyAuditLog,
} from './audit-log.js';
export { type Checkpoint, parseCheckpoint, signCheckpoint, type TreeHead, verifyCheckpoint } from './checkpoint.js';
export {
  type ConsistencyClaim,
  createMerkleTree,
  type InclusionClaim,
  leafHash,
  type MerkleTree,
  verifyConsistency,
  verifyInclusion,
} from './merkle-tree.js';
