/** Links object files and WebAssembly modules into deterministic, measured PAL images. */
export { type LinkElfPalOptions, type LinkedElfPal, linkElfPal, type MapEntry, PAL_BASE } from './elf/link.js';
export type { ObjectFile } from './elf/symbols.js';
export { type PalDiagnostic, PalLinkerError, type PalLinkerErrorCode, type PalLinkerPlace } from './error.js';
export {
  MAX_IMAGE_BYTES,
  MAX_SECTION_BYTES,
  measurePal,
  type OpenedPalFile,
  openPalFile,
  PAL_ACCESS,
  PAL_FLAGS,
  PAL_KIND,
  PAL_PARAMETER,
  PAL_SECTION,
  PalImage,
  PalParameter,
  PalSection,
  parsePalImage,
  WASM_PAGE,
} from './image.js';
export { inspectPal, type PalDescription, type SectionDescription, type SignatureDescription } from './inspect.js';
export { type LinkPalOptions, linkPal } from './link.js';
export { PAL_BUFFER_HEADER, type PalLimitOptions } from './parameters.js';
export {
  isPalService,
  PAL_SERVICE_MODULE,
  PAL_SERVICES,
  PAL_STATUS,
  type PalServiceName,
  type PalStatus,
} from './services.js';
export {
  type PalSignature,
  type PalSignatureCheck,
  type PalSignatureVerifier,
  type PalSignedFields,
  type PalSigner,
  palSignedMessage,
  parsePalSignature,
  signPal,
  unsignedPal,
  verifyPalSignature,
} from './signature.js';
export type { PalSignatureBlock } from './signature-block.js';
