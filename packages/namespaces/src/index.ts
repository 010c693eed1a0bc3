/** Sandboxes from Linux namespaces, mounts, capabilities and seccomp, described as data and started by one native launcher. */
export { type Caller, readCaller, type SubordinateRange } from './caller.js';
export { CAPABILITIES, type Capability } from './capabilities.js';
export { attachDeviceProgram, pressureTrigger } from './cgroup-services.js';
export type {
  CapabilitySets,
  LandlockFileRight,
  LandlockPathRule,
  LandlockPortRight,
  LandlockPortRule,
  LandlockRight,
  LandlockScope,
  LandlockSpec,
  Scheduling,
  SchedulingPolicy,
  SecureBit,
} from './confinement-spec.js';
export { type FailedOperation, NamespaceError, type NamespaceErrorCode } from './error.js';
export { type IdLease, IdPool, type IdPoolOptions } from './id-pool.js';
export { LANDLOCK_RIGHTS } from './landlock.js';
export { type LauncherServer, type LauncherServerOptions, startLauncherServer } from './launcher.js';
export type {
  BindMount,
  BindRoot,
  DevptsMount,
  DirectoryLayer,
  FileMount,
  ImageFileSystem,
  ImageMount,
  ImageRoot,
  ImageSource,
  KernelMount,
  KernelMountBase,
  MountFlags,
  MountPropagation,
  MountSource,
  MountSpec,
  OverlayDirectory,
  OverlayLayer,
  OverlayMemory,
  OverlayMount,
  OverlayRoot,
  OwnerMap,
  OwnerRange,
  PlainKernelMount,
  ProcMount,
  RootSpec,
  TmpfsLimits,
  TmpfsMount,
  TmpfsRoot,
} from './mount-spec.js';
export { type NetworkLease, NetworkPool, type NetworkPoolOptions } from './network-pool.js';
export type {
  DnsSpec,
  LinkEnd,
  LinkSpec,
  MacvlanLink,
  MovedLink,
  NetworkSpec,
  RouteSpec,
  VethLink,
} from './network-spec.js';
export type { Operation, OperationName, OperationOf } from './operations.js';
export { type Plan, planSandbox } from './plan.js';
export { printPlan } from './print-plan.js';
export { type Probe, probe } from './probe.js';
export type {
  ExecSpec,
  Sandbox,
  SandboxExit,
  SandboxProcess,
  SandboxTerminal,
  StartOptions,
  StdioTarget,
  StdioTargets,
  StdioTerminal,
  TerminalSize,
} from './sandbox.js';
export { compileSeccomp } from './seccomp.js';
export type { SeccompArch } from './seccomp-architectures.js';
export { defaultSeccompProfile } from './seccomp-default.js';
export { parseSeccompProfile, type SeccompProfileOptions } from './seccomp-oci.js';
export type {
  SeccompAction,
  SeccompArgument,
  SeccompFlag,
  SeccompProfile,
  SeccompRule,
} from './seccomp-profile.js';
export { DEFAULT_SECCOMP_REFUSALS, type SeccompRefusal } from './seccomp-refusals.js';
export type {
  ExistingNamespace,
  IdMapping,
  IdRange,
  NamespaceKind,
  Rlimit,
  RlimitName,
  SandboxSeccomp,
  SandboxSpec,
} from './spec.js';
export { startSandbox } from './start.js';
export type { SystemCall, SystemCallAnswer, SystemCallCallback } from './system-call.js';
