/** A store in memory for fuzzing: it keeps documents, and finds no certificates. */
import { memoryAuditStore } from '../src/audit.js';
import { PkiError } from '../src/index.js';
import type { AuthorityStore, StoredDocument } from '../src/service.js';

/** Keeps at most a thousand documents. */
export function memoryStore(): AuthorityStore {
  const documents = new Map<string, StoredDocument>();
  const close = async (): Promise<void> => undefined;
  return {
    async commit(changes) {
      for (const each of changes) {
        if (each.change !== 'put') continue;
        const name = `${each.kind}/${each.id}`;
        if (each.version === 0 && documents.has(name)) throw new PkiError('exists', 'put: expected a fresh identifier');
        const [oldest] = documents.keys();
        if (documents.size >= 1000 && oldest !== undefined) documents.delete(oldest);
        documents.set(name, { ...each, version: (each.version ?? 0) + 1 });
      }
    },
    certificate: async () => undefined,
    certificates: async () => [],
    revocation: async () => undefined,
    revocations: async () => [],
    newestCrl: async () => undefined,
    document: async (kind, id) => documents.get(`${kind}/${id}`),
    documents: async () => [],
    async take(kind, id) {
      const found = documents.get(`${kind}/${id}`);
      documents.delete(`${kind}/${id}`);
      return found;
    },
    forget: async () => 0,
    audit: memoryAuditStore(),
    close,
    [Symbol.asyncDispose]: close,
  };
}
