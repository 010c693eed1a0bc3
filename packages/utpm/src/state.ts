/** Where a TPM keeps its permanent state: the store interface, and the store in memory. */

/**
 * A store for one blob, the permanent state of one TPM.
 * A store may be open in one TPM at a time; it belongs to that TPM from `openUtpm` until `close`.
 */
export interface UtpmState {
  /** The blob saved last, or `undefined` for a TPM that has not been manufactured. Throws `UtpmError` `state-locked` or `state-failed`. */
  load(): Promise<Uint8Array | undefined>;
  /** Replaces the blob. It resolves when `state` is durable; on a crash at any moment the old or the new blob is there, whole. */
  save(state: Uint8Array): Promise<void>;
  /** Lets go of the store. */
  close(): Promise<void>;
}

/** A store that can also keep the volatile state of a TPM whose run goes on later, in another process perhaps. */
export interface VolatileStore {
  /** The volatile state saved last, if there is one. Throws `UtpmError` `state-failed`. */
  loadVolatile(): Promise<Uint8Array | undefined>;
  /** Replaces the volatile state; `undefined` removes it. */
  saveVolatile(state: Uint8Array | undefined): Promise<void>;
}

/** Can `state` keep volatile state? */
export function isVolatileStore(state: UtpmState): state is UtpmState & VolatileStore {
  return 'loadVolatile' in state && 'saveVolatile' in state;
}

/** A store in memory, gone with the process unless the caller keeps `snapshot()`. */
export interface MemoryState extends UtpmState, VolatileStore {
  /** A copy of the blob saved last, to hand to another `memoryState`; it holds secrets. */
  snapshot(): Uint8Array | undefined;
}

/** Makes a store in memory, empty or holding a copy of an earlier `snapshot()`. */
export function memoryState(initial?: Uint8Array): MemoryState {
  let blob = initial?.slice();
  let volatile: Uint8Array | undefined;
  return {
    load: async () => blob?.slice(),
    save: async (state) => {
      const old = blob;
      blob = state.slice();
      old?.fill(0);
    },
    close: async () => undefined,
    loadVolatile: async () => volatile?.slice(),
    saveVolatile: async (state) => {
      volatile?.fill(0);
      volatile = state?.slice();
    },
    snapshot: () => blob?.slice(),
  };
}
