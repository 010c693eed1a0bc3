/** What both server protocols drive: one TPM with its power switch, locality line and dynamic-launch sequence. */
import type { Utpm } from '../options.js';

/** Most bytes that a client may collect for one dynamic-launch measurement. */
const MAX_HASH_DATA = 1 << 20;

/** The platform around a TPM. Whoever reaches the control channel controls it. */
export interface Platform {
  /** Is the TPM powered and initialised? Commands to a TPM that is off are not run. */
  readonly isOn: boolean;
  /** The locality of commands on the swtpm data channel, 0 to 4. */
  locality: number;
  /** Has a dynamic launch happened (TPM_ESTABLISHED)? */
  readonly established: boolean;
  /** Powers the TPM on where it is off. */
  powerOn(): Promise<void>;
  /** Takes its power away: all volatile state goes. */
  powerOff(): Promise<void>;
  /** Off and on. */
  reset(): Promise<void>;
  /** Runs one command; `undefined` while the TPM is off. */
  run(command: Uint8Array, locality: number): Promise<Uint8Array | undefined>;
  /** `_TPM_Hash_Start`. */
  hashStart(): void;
  /** `_TPM_Hash_Data`; `false` where no sequence is open or it grows too long. */
  hashData(data: Uint8Array): boolean;
  /** `_TPM_Hash_End`; `false` where no sequence is open. */
  hashEnd(): Promise<boolean>;
  /** Clears TPM_ESTABLISHED. */
  resetEstablished(): void;
}

/** Makes the platform of `tpm`, on at once or waiting for its power. */
export function openPlatform(tpm: Utpm, isOn: boolean): Platform {
  let on = isOn;
  let established = false;
  let hash: Uint8Array[] | undefined;
  const powerOff = async (): Promise<void> => {
    if (on) await tpm.powerCycle();
    on = false;
  };
  return {
    locality: 0,
    get isOn() {
      return on;
    },
    get established() {
      return established;
    },
    powerOn: async () => {
      on = true;
    },
    powerOff,
    async reset() {
      await powerOff();
      on = true;
    },
    run: async (command, locality) => (on ? tpm.send(command, { locality }) : undefined),
    hashStart() {
      hash = [];
    },
    hashData(data) {
      if (hash === undefined || lengthOf(hash) + data.length > MAX_HASH_DATA) return false;
      hash.push(data.slice());
      return true;
    },
    async hashEnd() {
      if (hash === undefined) return false;
      const data = concat(hash);
      hash = undefined;
      await tpm.hashSequence(data);
      established = true;
      return true;
    },
    resetEstablished() {
      established = false;
    },
  };
}

function lengthOf(parts: readonly Uint8Array[]): number {
  return parts.reduce((sum, part) => sum + part.length, 0);
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(lengthOf(parts));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
