/** The TEE-SDK's TZ API: devices, sessions, operations, services. */
export type { DecodedValues, DecodeType } from './decode-as.js';
export { Device, type OpenOptions } from './device.js';
export type {
  CallOptions,
  DeviceConnection,
  DeviceDriver,
  DeviceMemory,
  LentMemory,
  MemoryStore,
  ServiceChannel,
  ServiceReply,
  ServiceStore,
} from './driver.js';
export { TzError, type TzOrigin } from './error.js';
export { type LoadedService, type LoadOptions, loadAndOpen } from './load-and-open.js';
export {
  allLogins,
  applicationDigest,
  type Caller,
  type Credentials,
  credentialRecords,
  credentialsOf,
  type Login,
  thisProcess,
} from './login.js';
export { Manager } from './manager.js';
export {
  DEFAULT_CAPACITY,
  Decoder,
  decodeBuffer,
  type EncodeBufferHeader,
  Encoder,
  encodeBuffer,
  HEADER_SIZE,
  MAX_CAPACITY,
  type MemoryReference,
  TZ_TAG,
  type TzInput,
  TzRecord,
  type TzValue,
  turnBuffer,
} from './marshal.js';
export {
  type NullDeviceOptions,
  nullDriver,
  type Service,
  type ServiceDefinition,
  type ServiceOptions,
} from './null-device.js';
export { type DeviceOptions, openDevice } from './open-device.js';
export { Operation, type OperationTarget, type TzArgument } from './operation.js';
export type { AcceptedSigners, DevicePolicy, DownloadedImage } from './policy.js';
export { mandatoryProperties, type Property, type PropertyName } from './property.js';
export {
  CASEMATE_PROPERTY,
  TZ_COMMAND,
  TZ_LOGIN,
  TZ_MEM,
  TZ_NAMESPACE,
  TZ_PROPERTY,
  TZ_RETURN,
  TZ_STATE,
  TZ_TYPE,
  type TzErrorCode,
  type TzMemoryFlags,
  type TzState,
  type TzType,
} from './return-code.js';
export type { ServiceMemory } from './service-memory.js';
export { type InvokeOptions, Session, type SessionLink } from './session.js';
export { type LiveRange, type MemoryRange, SharedMemory, type SharedMemoryTarget } from './shared-memory.js';
export { TimeLimit } from './time-limit.js';
export { type TrustvisorDeviceOptions, trustvisorDriver } from './trustvisor-device.js';
export { measurementUuid, type Uuid, uuid } from './uuid.js';
