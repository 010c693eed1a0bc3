/** TCG event logs and UEFI signature databases: bytes and values, no I/O. */
export { FirmwareError, type FirmwareErrorCode } from './error.js';
export {
  EVENT_LOG_LIMITS,
  type EventDigest,
  type EventLog,
  encodeEventLog,
  type LogEvent,
  parseEventLog,
  SpecIdAlgorithm,
  SpecIdEvent,
  specIdEvent,
} from './event-log.js';
export { EV, eventTypeName } from './event-types.js';
export { EfiGuid } from './guid.js';
export { BANK_ALGORITHMS, type BankAlgorithm, type BankName, bankById, bankByName } from './hash-algorithms.js';
export { initialPcrValue, type PcrBanks, type ReplayOptions, replayEventLog } from './replay.js';
export {
  EFI_CERT_TYPE,
  type EfiSignature,
  type EfiSignatureList,
  encodeSignatureLists,
  parseSignatureLists,
} from './signature-list.js';
export { StartupLocalityEvent, startupLocalityEvent } from './startup-locality.js';
export { TaggedEvent } from './tagged-event.js';
export { encodeVariableEvent, parseVariableEvent, UefiVariableData } from './variable-event.js';
