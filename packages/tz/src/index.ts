/** The TEE-SDK's TZ API: devices, sessions, operations, services. */
export { Device, type OpenOptions } from './device.js';
export type {
  CallOptions,
  DeviceConnection,
  DeviceDriver,
  Login,
  ServiceChannel,
  ServiceReply,
  ServiceStore,
} from './driver.js';
export { TzError, type TzOrigin } from './error.js';
export { Manager } from './manager.js';
export {
  DEFAULT_CAPACITY,
  Decoder,
  decodeBuffer,
  EncodeBufferHeader,
  Encoder,
  encodeBuffer,
  HEADER_SIZE,
  MAX_CAPACITY,
  TZ_TAG,
  TzRecord,
  type TzValue,
  turnBuffer,
} from './marshal.js';
export { type NullDeviceOptions, nullDriver, type Service } from './null-device.js';
export { type DeviceOptions, openDevice } from './open-device.js';
export { Operation, type OperationTarget } from './operation.js';
export {
  TZ_COMMAND,
  TZ_LOGIN,
  TZ_RETURN,
  TZ_STATE,
  TZ_TYPE,
  type TzErrorCode,
  type TzState,
  type TzType,
} from './return-code.js';
export { Session, type SessionLink } from './session.js';
export { TimeLimit } from './time-limit.js';
export { type TrustvisorDeviceOptions, trustvisorDriver } from './trustvisor-device.js';
export { measurementUuid, type Uuid, uuid } from './uuid.js';
