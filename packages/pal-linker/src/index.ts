/** Links WebAssembly modules into deterministic, measured PAL images. */
export { PalLinkerError, type PalLinkerErrorCode } from './error.js';
export {
  MAX_IMAGE_BYTES,
  MAX_SECTION_BYTES,
  measurePal,
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
export { inspectPal, type PalDescription, type SectionDescription } from './inspect.js';
export { type LinkPalOptions, linkPal, PAL_BUFFER_HEADER } from './link.js';
export {
  isPalService,
  PAL_SERVICE_MODULE,
  PAL_SERVICES,
  PAL_STATUS,
  type PalServiceName,
  type PalStatus,
} from './services.js';
