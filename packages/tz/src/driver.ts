/** What a device must offer to stand behind the TZ API; the counterpart of the TEE-SDK's device callbacks. */
import type { Uuid } from './uuid.js';

/** Who asks: nobody in particular, or a client that shows bytes which the service checks. */
export type Login = { readonly type: 'PUBLIC' } | { readonly type: 'CLIENT_DATA'; readonly data: Uint8Array };

/** How the caller may end a call early. The driver settles as soon as it can; a late answer is still an answer. */
export interface CallOptions {
  /** Aborted by a cancellation or by the time limit of the operation. */
  readonly signal: AbortSignal;
  /** Milliseconds that are left, where the operation has a time limit. */
  readonly timeLimit: number | undefined;
}

/** A service's answer: its own return value and the message, a buffer turned for decoding. */
export interface ServiceReply {
  /** What the service returned; 0 is success. */
  readonly returnCode: number;
  /** The message: header and records. */
  readonly output: Uint8Array;
}

/** One session at the device. Calls come one after another. */
export interface ServiceChannel {
  /** The service's answer to the opening of the session. */
  readonly reply: ServiceReply;
  /** Sends `input`, a buffer turned for decoding. Throws TzError, or any error, which counts as one of communication. */
  invoke(command: number, input: Uint8Array, options: CallOptions): Promise<ServiceReply>;
  /** Tells the service that the session ends and frees what it holds; the session has ended whatever this returns. */
  close(): Promise<void>;
}

/** What the service manager can do; TrustZone API 3.0, sections 6.3 and 7.2. */
export interface ServiceStore {
  /** The installed services. */
  list(): Promise<readonly Uuid[]>;
  /** Installs a service; throws TzError `TZ_ERROR_ACCESS_DENIED` for a duplicate, `TZ_ERROR_ILLEGAL_ARGUMENT` for no service. */
  download(image: Uint8Array): Promise<Uuid>;
  /** Removes a service; throws TzError `TZ_ERROR_ACCESS_DENIED` for one that is not there, `TZ_ERROR_BUSY` while it has sessions. */
  remove(service: Uuid): Promise<void>;
}

/** An open connection to a device. */
export interface DeviceConnection {
  /** Bytes of records that a message to `service` may hold; the default for a service that is not there. */
  capacityOf(service: Uuid): number;
  /** The service manager. */
  readonly services: ServiceStore;
  /**
   * Opens a session: shows the service `login` and `input`, and returns a channel with its answer; a service that refuses is
   * told by a `returnCode` other than 0 and gets no further call. Throws TzError `TZ_ERROR_ACCESS_DENIED` for no such service.
   */
  openSession(service: Uuid, login: Login, input: Uint8Array, options: CallOptions): Promise<ServiceChannel>;
  /** Ends the connection and removes what it installed. */
  close(): Promise<void>;
}

/** A kind of device. Pass one of your own to `openDevice`. */
export interface DeviceDriver {
  /** A short name for messages. */
  readonly name: string;
  /** Connects. */
  open(): Promise<DeviceConnection>;
}
