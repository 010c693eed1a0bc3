/** What a device must offer to stand behind the TZ API; the counterpart of the TEE-SDK's device callbacks (`TZIDeviceRegister`). */
import type { Login } from './login.js';
import type { Property } from './property.js';
import type { TzMemoryFlags } from './return-code.js';
import type { Uuid } from './uuid.js';

/** How the caller may end a call early. The driver settles as soon as it can; a late answer is still an answer. */
export interface CallOptions {
  /** Aborted by a cancellation or by the time limit of the operation. */
  readonly signal: AbortSignal;
  /** Calls `listener` when the signal would be aborted, without one: cheaper. Returns what takes the listener away again. */
  onCancel(listener: (reason: unknown) => void): () => void;
  /** Milliseconds that are left, where the operation has a time limit. */
  readonly timeLimit: number | undefined;
  /** What is lent to the service until the call ends: reference 0, 1, 2… of the message. Within their blocks, and not overlapping. */
  readonly lend: readonly LentMemory[];
}

/** A range of a device's shared memory that a call lends. */
export interface LentMemory {
  /** What `MemoryStore.allocate` or `register` of the same connection gave. */
  readonly memory: DeviceMemory;
  /** First byte. */
  readonly offset: number;
  /** Bytes; at least one. */
  readonly length: number;
  /** What the service may do. */
  readonly flags: TzMemoryFlags;
}

/** A block of shared memory at the device. */
export interface DeviceMemory {
  /** Bytes. */
  readonly size: number;
  /** Puts `bytes` at `offset`. */
  write(offset: number, bytes: Uint8Array): void;
  /** A copy of `length` bytes from `offset`. */
  read(offset: number, length: number): Uint8Array;
  /** Frees the block, which no call uses any more. */
  release(): void;
}

/** The ability to share memory. */
export interface MemoryStore {
  /** What offsets and lengths of references should be a multiple of, in bytes, to be cheapest (`TZ_PROPERTY_SYS_MEMORY_ALIGN`). */
  readonly alignment: number;
  /** Makes a block of zeros. Throws TzError `TZ_ERROR_MEMORY`. */
  allocate(size: number): Promise<DeviceMemory>;
  /** Makes a block of memory of the client, where the device can use that itself. Unless it is there, blocks are allocated and bytes copied. */
  register?(bytes: Uint8Array): DeviceMemory;
}

/** A service's answer: its own return value and the message, a buffer turned for decoding. */
export interface ServiceReply {
  /** What the service returned; 0 is success. */
  readonly returnCode: number;
  /** The message: header and records. */
  readonly output: Uint8Array;
}

/** One session at the device. Calls may come while others run. */
export interface ServiceChannel {
  /** The service's answer to the opening of the session. */
  readonly reply: ServiceReply;
  /** Sends `input`, a buffer turned for decoding. Throws TzError, or any error, which counts as one of communication. */
  invoke(command: number, input: Uint8Array, options: CallOptions): Promise<ServiceReply>;
  /** Tells the service that the session ends and frees what it holds; the session has ended whatever this returns. */
  close(): Promise<void>;
}

/** A session with the service manager; TrustZone API 3.0, sections 6.3 and 7.2. */
export interface ServiceStore {
  /** The installed services. */
  list(): Promise<readonly Uuid[]>;
  /** All properties of a service that a client may see. Throws TzError `TZ_ERROR_ACCESS_DENIED` for one that is not there. */
  properties(service: Uuid): Promise<readonly Property[]>;
  /** Installs a service; throws TzError `TZ_ERROR_ACCESS_DENIED` for a duplicate, one that is refused, or what is no service. */
  download(image: Uint8Array, signal: AbortSignal): Promise<Uuid>;
  /** Removes a service; throws TzError `TZ_ERROR_ACCESS_DENIED` for one that is not there, `TZ_ERROR_BUSY` while it has sessions. */
  remove(service: Uuid): Promise<void>;
}

/** An open connection to a device. */
export interface DeviceConnection {
  /** Bytes of records that a message to `service` may hold; the default for a service that is not there. */
  capacityOf(service: Uuid): number;
  /** The device's own properties beyond those that every device has. */
  readonly properties?: readonly Property[];
  /** Shared memory, where the device has it. */
  readonly memory?: MemoryStore;
  /**
   * Opens a session with the service manager. Listing services and their properties works with any login. Throws TzError
   * `TZ_ERROR_ACCESS_DENIED` for a login that is refused.
   */
  openManager(login: Login): Promise<ServiceStore>;
  /**
   * Opens a session: shows the service the credentials that `login` asks for and `input`, and returns a channel with its answer; a
   * service that refuses is told by a `returnCode` other than 0 and gets no further call. Throws TzError `TZ_ERROR_ACCESS_DENIED` for no
   * such service, or a login that the device itself refuses.
   */
  openSession(service: Uuid, login: Login, input: Uint8Array, options: CallOptions): Promise<ServiceChannel>;
  /** Ends the connection and removes what it installed. */
  close(): Promise<void>;
}

/** A kind of device. Pass one of your own to `openDevice`. */
export interface DeviceDriver {
  /** A short name for messages and the property DEVICE. */
  readonly name: string;
  /** Connects. */
  open(): Promise<DeviceConnection>;
}
