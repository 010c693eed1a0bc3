/** A random conversation with two TPMs at once, and where they differ. */
import { full } from '../src/commands/full.js';
import { openUtpm } from '../src/index-node.js';
import { Conversation, type Step } from './conversation.js';
import { type RawTpm, responseCode, startSwtpm } from './raw.js';

/** One difference. */
export interface Difference {
  /** The name of the command that was meant, without its prefix. */
  readonly command: string;
  /** The number of the command in its run. */
  readonly at: number;
  readonly isMutated: boolean;
  /** The response codes, or -1 in both for other bytes. */
  readonly ours: number;
  readonly theirs: number;
  /** What was sent to ours, and what both answered, in hexadecimal. */
  readonly sent: string;
  readonly answers: readonly [string, string];
}

/** What came of a run. */
export interface Outcome {
  /** Commands that were sent to both. */
  count: number;
  /** Successes by command code, and how often each command was sent well-formed. */
  readonly coverage: Map<number, { name: string; sent: number; succeeded: number; mutated: number }>;
  readonly differences: Difference[];
}

/** Commands that a pair of TPMs runs before new ones are taken: what a mutation does to a hierarchy lasts. */
const SESSION = 1000;
const HANDLE_MAKERS: ReadonlySet<number> = new Set(
  full.filter(({ command }) => command.responseHandles.length > 0).map(({ command }) => command.code),
);
const RETRY = 0x922;
const FAILURE = 0x101;

/** Sends `count` commands to ours and to swtpm. The same seed sends the same, apart from what the TPMs draw at random. */
export async function duel(seed: number, count: number, isMutating = true): Promise<Outcome> {
  const outcome: Outcome = { count: 0, coverage: new Map(), differences: [] };
  for (let round = 0; outcome.count < count; round++) {
    const [ours, theirs] = [await openUtpm({ startup: true }), await startSwtpm()];
    try {
      await talk(
        new Conversation(seed * 1000 + round, isMutating),
        ours,
        theirs,
        Math.min(SESSION, count - outcome.count),
        outcome,
      );
    } finally {
      await Promise.all([ours.close(), theirs.close()]);
    }
  }
  return outcome;
}

async function talk(
  conversation: Conversation,
  ours: RawTpm,
  theirs: RawTpm,
  count: number,
  outcome: Outcome,
): Promise<void> {
  for (let i = 0; i < count; i++) {
    const step = conversation.next();
    const [a, b] = [await ours.send(step.bytes[0]), await sendAgain(theirs, step.bytes[1])];
    outcome.count++;
    note(outcome, step, a, b);
    if (responseCode(a) === 0 && responseCode(b) === 0) step.learn([a, b]);
    // From here on they are no longer in the same state.
    if (responseCode(a) !== responseCode(b) && (responseCode(a) === 0 || responseCode(b) === 0)) return;
    if (responseCode(b) === FAILURE || hasOtherHandle(step, a, b)) return;
  }
}

// swtpm asks for the first command that uses a protected value to be sent again, because it must write that first.
async function sendAgain(tpm: RawTpm, command: Uint8Array): Promise<Uint8Array> {
  const response = await tpm.send(command);
  return responseCode(response) === RETRY ? tpm.send(command) : response;
}

// The same slot for both, or what comes later is about other objects.
function hasOtherHandle({ bytes: [sent] }: Step, a: Uint8Array, b: Uint8Array): boolean {
  const code = new DataView(sent.buffer, sent.byteOffset).getUint32(6);
  if (!HANDLE_MAKERS.has(code) || responseCode(a) !== 0 || responseCode(b) !== 0) return false;
  return hex(a.subarray(10, 14)) !== hex(b.subarray(10, 14));
}

function note(outcome: Outcome, step: Step, a: Uint8Array, b: Uint8Array): void {
  const { command, isMutated } = step;
  const known = outcome.coverage.get(command.code) ?? { name: command.name, sent: 0, succeeded: 0, mutated: 0 };
  if (isMutated) known.mutated++;
  else known.sent++;
  if (!isMutated && responseCode(b) === 0) known.succeeded++;
  outcome.coverage.set(command.code, known);
  const [mine, other] = [responseCode(a), responseCode(b)];
  const isOther = (step.isDetermined && hex(a) !== hex(b)) || hasOtherHandle(step, a, b);
  const isSame = mine === other && !(mine === 0 && isOther);
  if (isSame) return;
  const codes = mine === other ? { ours: -1, theirs: -1 } : { ours: mine, theirs: other };
  const name = command.name.replace('TPM2_', '');
  outcome.differences.push({
    command: name,
    at: outcome.count,
    isMutated,
    ...codes,
    sent: hex(step.bytes[0]),
    answers: [hex(a), hex(b)],
  });
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
