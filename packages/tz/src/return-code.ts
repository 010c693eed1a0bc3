/** Return codes, states and types of the TrustZone API 3.0 (sections 5.1, 5.2, 5.5), numbered as the TEE-SDK numbers them. */

/** Every `tz_return_t`; a service may return other numbers of its own, which stay numbers. */
export const TZ_RETURN = {
  TZ_SUCCESS: 0,
  TZ_PENDING: 1,
  TZ_ERROR_ACCESS_DENIED: 2,
  TZ_ERROR_BUSY: 3,
  TZ_ERROR_CANCEL: 4,
  TZ_ERROR_COMMUNICATION: 5,
  TZ_ERROR_DECODE_NO_DATA: 6,
  TZ_ERROR_DECODE_TYPE: 7,
  TZ_ERROR_ENCODE_FORMAT: 8,
  TZ_ERROR_ENCODE_MEMORY: 9,
  TZ_ERROR_GENERIC: 10,
  TZ_ERROR_ILLEGAL_ARGUMENT: 11,
  TZ_ERROR_ILLEGAL_STATE: 12,
  TZ_ERROR_MEMORY: 13,
  TZ_ERROR_NOT_IMPLEMENTED: 14,
  TZ_ERROR_SECURITY: 15,
  TZ_ERROR_SERVICE: 16,
  TZ_ERROR_SHORT_BUFFER: 17,
  TZ_ERROR_UNDEFINED: 18,
} as const;

/** The name of a return code that is an error. */
export type TzErrorCode = Exclude<keyof typeof TZ_RETURN, 'TZ_SUCCESS' | 'TZ_PENDING'>;

/** The states that devices, sessions and operations go through; section 5.2. */
export const TZ_STATE = {
  UNDEFINED: 0,
  INVALID: 1,
  OPEN: 2,
  CLOSING: 3,
  ENCODE: 4,
  PERFORMABLE: 5,
  RUNNING: 6,
  RUNNING_ASYNC: 7,
  DECODE: 8,
} as const;

/** The name of a state. */
export type TzState = keyof typeof TZ_STATE;

/**
 * What `decodeGetType` answers: the type of the next record, or that there is none. MEM is an addition of this implementation for
 * services, which get references; an answer to a client never holds one.
 */
export const TZ_TYPE = { NONE: 0, UINT32: 1, ARRAY: 2, MEM: 3 } as const;

/** The name of a record type. */
export type TzType = keyof typeof TZ_TYPE;

/** Login flags; PUBLIC is the absence of all, ALL all that there are. The specification leaves the numbers free, these are ours. */
export const TZ_LOGIN = { PUBLIC: 0, CLIENT_DATA: 1, USER: 2, GROUP: 4, NAME: 8, DIGEST: 16, ALL: 31 } as const;

/** What a service may do with shared memory (section 5.5.7): read it, write it, or both. The numbers of the TEE-SDK. */
export const TZ_MEM = { SERVICE_RO: 1, SERVICE_WO: 2, SERVICE_RW: 3 } as const;

/** A value of {@link TZ_MEM}. */
export type TzMemoryFlags = (typeof TZ_MEM)[keyof typeof TZ_MEM];

/** Namespaces of properties (section 5.3.5.1), and CASEMATE, a free one, for what this implementation tells beyond the specification. */
export const TZ_NAMESPACE = {
  SYSTEM: 0xf000_0000,
  SERVICE: 0xf000_0001,
  CLIENT: 0xf000_0002,
  CONFIG: 0xf000_0003,
  CASEMATE: 0x4341_5345,
} as const;

/** Names of properties (sections 5.5.4 and 5.5.5), whose numbers the specification leaves free. SYS in SYSTEM, SVC in SERVICE. */
export const TZ_PROPERTY = {
  SYS_API_VERSION: 0,
  SYS_MEMORY_ALIGN: 1,
  SVC_UUID: 0,
  SVC_NAME: 1,
  SVC_VENDOR: 2,
} as const;

/**
 * Names in the namespace CASEMATE. Of the device: DEVICE and ENGINE (zero-terminated), EPHEMERAL (u32, 1 where what services seal is
 * gone at the end). Of a service: MEASUREMENT (32 bytes), VERSION (zero-terminated), IDENTITY (TPMT_PUBLIC), SIGNER (SHA-256 of the key
 * that signed its image), SECURITY_VERSION (u32), CAPACITY (u32, bytes of records in a message).
 */
export const CASEMATE_PROPERTY = {
  DEVICE: 0,
  ENGINE: 1,
  EPHEMERAL: 2,
  MEASUREMENT: 16,
  VERSION: 17,
  IDENTITY: 18,
  SIGNER: 19,
  SECURITY_VERSION: 20,
  CAPACITY: 21,
} as const;

/**
 * Commands that a client cannot invoke: they carry the opening and the closing of a session to the service, and ask it for its
 * properties. A service that does not know them answers `TZ_ERROR_NOT_IMPLEMENTED`, which accepts and has none; WIRE.md, "Reserved
 * commands".
 */
export const TZ_COMMAND = { PROPERTIES: 0xffff_fffd, OPEN: 0xffff_fffe, CLOSE: 0xffff_ffff } as const;

/** The specification's name of a return code, or `undefined` for a number that a service made up. */
export function returnName(code: number): keyof typeof TZ_RETURN | undefined {
  return NAMES[code];
}

const NAMES = Object.keys(TZ_RETURN) as readonly (keyof typeof TZ_RETURN)[]; // listed in order from 0
