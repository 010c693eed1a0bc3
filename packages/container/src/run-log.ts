/** The record of one start of a container: what happened when, for people and as part of evidence. */

/** What is recorded; each kind has the members that belong to it. */
export type RunEvent =
  | {
      readonly event: 'verified';
      readonly guestOs: string;
      readonly version: number;
      readonly signer: string;
      readonly configDigest: string;
      readonly imageDigest: string;
    }
  | { readonly event: 'refused'; readonly code: string; readonly detail: string }
  | { readonly event: 'unpacked'; readonly entries: number; readonly keptOwners: boolean }
  | { readonly event: 'limits'; readonly memoryMax: number; readonly pidsMax: number; readonly cpuMax: number }
  | { readonly event: 'insecure-missing-limit'; readonly limit: string; readonly reason: string }
  | { readonly event: 'measured'; readonly pcr: number }
  | {
      readonly event: 'started';
      readonly pid: number;
      readonly command: readonly string[];
      readonly capabilities: readonly string[];
    }
  | { readonly event: 'state'; readonly state: string }
  | { readonly event: 'exited'; readonly code: number | null; readonly signal: string | null };

/** An event with its place and time. */
export type RunRecord = RunEvent & {
  /** Its number, from 0. */
  readonly sequence: number;
  /** When, in milliseconds since 1970 by this machine's clock. */
  readonly time: number;
};

/** A log that can only grow. One log may serve several containers, one after another. */
export class RunLog {
  readonly #records: RunRecord[] = [];

  /** Everything recorded so far, a copy. */
  get records(): readonly RunRecord[] {
    return [...this.#records];
  }

  /** Appends an event with the time of now. */
  append(event: RunEvent): void {
    this.#records.push(Object.freeze({ sequence: this.#records.length, time: Date.now(), ...event }));
  }

  /** The log as JSON text: an array of records. */
  toText(): string {
    return JSON.stringify(this.#records);
  }
}
