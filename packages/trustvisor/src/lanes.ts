/** Sockets that the isolate was started with: the lanes, each of which leads to one PAL, and pairs between a PAL's thread and its machine. */
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

/** Both ends of a socket. */
export interface SocketPair {
  /** That of the PAL's thread. */
  readonly ours: number;
  /** That of its machine. */
  readonly theirs: number;
}

/**
 * Pairs that no PAL has had yet: Node can make none in which a thread may wait. They are not used twice, as the lanes.
 */
export class SocketPairs {
  readonly #free: SocketPair[] = [];

  /** `fds` two by two. */
  constructor(fds: readonly number[]) {
    fds.forEach((ours, i) => {
      const theirs = fds[i + 1];
      if (i % 2 === 0 && theirs !== undefined) this.#free.push({ ours, theirs });
    });
  }

  /** One for a PAL, as long as there are some. */
  take(): SocketPair | undefined {
    return this.#free.shift();
  }
}
