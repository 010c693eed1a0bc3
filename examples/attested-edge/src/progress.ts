/** What a person, or with `--json` a program, sees of the run. */

/** One finished step, as the report and `--json` have it. */
export interface StepRecord {
  readonly number: number;
  readonly title: string;
  readonly notes: readonly string[];
  readonly milliseconds: number;
}

/** Says what is being done. A step's notes are what it did, one fact a line. */
export class Progress {
  readonly steps: StepRecord[] = [];
  readonly #json: boolean;

  constructor(json: boolean) {
    this.#json = json;
  }

  /** Runs one step, with a line when it ends and how long it took. */
  async step<T>(title: string, act: (note: (text: string) => void) => Promise<T>): Promise<T> {
    const number = this.steps.length + 1;
    const notes: string[] = [];
    const start = performance.now();
    if (!this.#json) process.stdout.write(`${number}. ${title}\n`);
    const note = (text: string): void => {
      notes.push(text);
      if (!this.#json) process.stdout.write(`   ${text}\n`);
    };
    try {
      return await act(note);
    } finally {
      const milliseconds = Math.round(performance.now() - start);
      this.steps.push({ number, title, notes, milliseconds });
      if (this.#json) print({ step: number, title, notes, milliseconds });
      else process.stdout.write(`   ${milliseconds} ms\n`);
    }
  }

  /** A line beside the steps: where something was written. */
  say(text: string): void {
    if (!this.#json) process.stdout.write(`${text}\n`);
  }

  /** The last line. `failed` holds the checks that failed, each with why. */
  verdict(failed: readonly { readonly name: string; readonly detail: string }[]): void {
    const trusted = failed.length === 0;
    if (this.#json) {
      print({ verdict: trusted ? 'TRUSTED' : 'UNTRUSTED', failed });
      return;
    }
    // A comma separates checks, so that the line can be taken apart.
    const reasons = failed.map(({ name, detail }) => `${name} (${detail.replaceAll(',', ';')})`).join(', ');
    process.stdout.write(trusted ? 'verdict: TRUSTED\n' : `verdict: UNTRUSTED: ${reasons}\n`);
  }
}

function print(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}
