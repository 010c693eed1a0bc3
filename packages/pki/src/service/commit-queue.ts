/** Commits that wait are written together: one flush of the disk for all that came while the last one was under way. */
import { PkiError } from '../error.js';
import type { Change, StoredDocument } from './authority-store.js';

/** A commit that waits. */
interface WaitingCommit {
  /** What to change. */
  readonly changes: readonly Change[];
  /** Told when all is durable, or why nothing of it was done. */
  settle(error?: unknown): void;
}

/** The most commits in one transaction. */
const MAX_BATCH = 256;

/** A queue of commits. */
export interface CommitQueue {
  /** Waits for the changes to be durable. */
  commit(changes: readonly Change[]): Promise<void>;
  /** Waits until nothing waits. */
  idle(): Promise<void>;
}

/**
 * Gives batches to `write`, one after the other. It gives back, for each commit, the error that it alone is refused with; what it
 * throws is the refusal of all.
 */
export function commitQueue(
  write: (batch: readonly (readonly Change[])[]) => readonly unknown[] | Promise<readonly unknown[]>,
): CommitQueue {
  const waiting: WaitingCommit[] = [];
  let running: Promise<void> | undefined;
  const drain = async (): Promise<void> => {
    // What is called in the same turn of the event loop goes along.
    await new Promise((resolve) => setImmediate(resolve));
    while (waiting.length > 0) {
      const batch = waiting.splice(0, MAX_BATCH);
      try {
        const errors = await write(batch.map(({ changes }) => changes));
        for (const [i, { settle }] of batch.entries()) settle(errors[i]);
      } catch (error) {
        for (const { settle } of batch) settle(error);
      }
      await new Promise((resolve) => setImmediate(resolve));
    }
    running = undefined;
  };
  return {
    commit(changes) {
      return new Promise((resolve, reject) => {
        waiting.push({ changes, settle: (error) => (error === undefined ? resolve() : reject(error)) });
        running ??= drain();
      });
    },
    async idle() {
      await running;
    },
  };
}

/** Takes a document through the queue, so that taking costs no flush of its own. Of several that try, one gets it. */
export async function takeDocument(
  read: () => Promise<StoredDocument | undefined>,
  queue: CommitQueue,
): Promise<StoredDocument | undefined> {
  for (;;) {
    const found = await read();
    if (found === undefined) return undefined;
    const { kind, id, version } = found;
    try {
      await queue.commit([{ change: 'delete', kind, id, version }]);
      return found;
    } catch (error) {
      // Somebody took it, or changed it: then it is there again in another version.
      if (!(error instanceof PkiError) || error.code !== 'not-found') throw error;
    }
  }
}
