/** The terminal of a command as one stream of ours: what is written is typed, what is read was shown. */
import { Duplex, type Readable, type Writable } from 'node:stream';
import type { TerminalSize } from './sandbox.js';

/** Joins the launcher's two pipes; the launcher carries the bytes to and from the terminal itself. */
export class TerminalStream extends Duplex {
  readonly #typed: Writable;
  readonly #shown: Readable;
  readonly #resize: (size: TerminalSize) => void;

  /** `resize` tells the launcher. */
  constructor(typed: Writable, shown: Readable, resize: (size: TerminalSize) => void) {
    super({ allowHalfOpen: true });
    this.#typed = typed;
    this.#shown = shown;
    this.#resize = resize;
    shown.on('data', (chunk: Uint8Array) => {
      if (!this.push(chunk)) shown.pause();
    });
    shown.once('end', () => this.push(null));
    for (const stream of [typed, shown]) stream.on('error', (error) => this.destroy(error));
  }

  /** Changes the size in characters; the command gets SIGWINCH. */
  resize(size: TerminalSize): void {
    this.#resize(size);
  }

  override _read(): void {
    this.#shown.resume();
  }

  override _write(chunk: Uint8Array, _: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#typed.write(chunk, done);
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#typed.end(() => done());
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#typed.destroy();
    this.#shown.destroy();
    done(error);
  }
}
