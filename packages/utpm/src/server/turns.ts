/** One client at a time, as swtpm has it: the next connection is served when the one before it has ended. */
import type { Socket } from 'node:net';

/** Starts to serve a connection, at once or when it is its turn. */
export type Turns = (socket: Socket, start: () => void) => void;

/** All at once. */
export const allAtOnce: Turns = (_, start) => start();

/** Makes the order of one address. */
export function oneAtATime(): Turns {
  const waiting: { readonly socket: Socket; readonly start: () => void }[] = [];
  let isTaken = false;
  const next = (): void => {
    let turn = waiting.shift();
    while (turn?.socket.closed) turn = waiting.shift();
    isTaken = turn !== undefined;
    turn?.socket.once('close', next);
    turn?.start();
  };
  return (socket, start) => {
    waiting.push({ socket, start });
    if (!isTaken) next();
  };
}
