/** System calls that older architectures also reach through one call with a number: socketcall(2), ipc(2), linux/net.h, linux/ipc.h. */

/** The other way to a call. */
export interface Multiplexer {
  /** The call that leads there. */
  readonly syscall: 'socketcall' | 'ipc';
  /** The lower 16 bits of its first argument. */
  readonly number: number;
}

const entries = (syscall: Multiplexer['syscall'], names: string): readonly (readonly [string, Multiplexer])[] =>
  names
    .trim()
    .split(/\s+/)
    .map((entry) => {
      const [name = '', number] = entry.split('=');
      return [name, { syscall, number: Number(number) }] as const;
    });

/** By the name of the call that is reached. */
export const MULTIPLEXERS: ReadonlyMap<string, Multiplexer> = new Map([
  ...entries(
    'socketcall',
    `socket=1 bind=2 connect=3 listen=4 accept=5 getsockname=6 getpeername=7 socketpair=8 send=9 recv=10 sendto=11 recvfrom=12
     shutdown=13 setsockopt=14 getsockopt=15 sendmsg=16 recvmsg=17 accept4=18 recvmmsg=19 sendmmsg=20`,
  ),
  ...entries(
    'ipc',
    `semop=1 semget=2 semctl=3 semtimedop=4 msgsnd=11 msgrcv=12 msgget=13 msgctl=14 shmat=21 shmdt=22 shmget=23 shmctl=24`,
  ),
]);
