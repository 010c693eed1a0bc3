/** Signed GuestOS images and measured containers. */
export { type BuildOptions, type BuiltGuestOs, buildGuestOs } from './build.js';
export {
  DEFAULT_LIMITS,
  encodeGuestOsConfig,
  type GuestOsConfig,
  type GuestOsImage,
  type GuestOsInit,
  type GuestOsLimits,
  MAX_CONFIG,
  MAX_IMAGE,
  parseGuestOsConfig,
  readGuestOsConfig,
} from './config.js';
export { Container, type ContainerParts, type ContainerState } from './container.js';
export { ContainerError, type ContainerErrorCode } from './error.js';
export { type RunEvent, RunLog, type RunRecord } from './run-log.js';
export { type StartContainerOptions, startContainer } from './start.js';
export { type GuestOsId, GuestOsStore, openGuestOsStore } from './store.js';
export { type TrustOptions, type VerifiedConfiguration, verifyGuestOs } from './verify.js';
