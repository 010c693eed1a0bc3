/** The isolate's ends of the lanes: each leads to one PAL, and is closed with it. */
import { closeSync } from 'node:fs';

/** An end that was given to a PAL. */
export interface TakenLane {
  /** Its number, by which the application knows it too. */
  readonly number: number;
  /** The descriptor. */
  readonly fd: number;
}

/** The lanes that no PAL has had yet. They are not used twice: what is still in one belongs to the PAL that had it. */
export class Lanes {
  readonly #free: TakenLane[];

  /** `fds` in the order of the application's ends. */
  constructor(fds: readonly number[]) {
    this.#free = fds.map((fd, number) => ({ number, fd }));
  }

  /** One for a PAL, as long as there are some. */
  take(): TakenLane | undefined {
    return this.#free.shift();
  }
}

/** Closes the end, so that the application sees that nobody is there. */
export function closeLane({ fd }: TakenLane): void {
  closeSync(fd);
}
