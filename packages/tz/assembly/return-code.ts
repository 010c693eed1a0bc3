/** Return codes, record types and reserved commands of the TZ API; the numbers of `src/return-code.ts`. */
export const TZ_SUCCESS: u32 = 0;
export const TZ_ERROR_ACCESS_DENIED: u32 = 2;
export const TZ_ERROR_CANCEL: u32 = 4;
export const TZ_ERROR_DECODE_NO_DATA: u32 = 6;
export const TZ_ERROR_DECODE_TYPE: u32 = 7;
export const TZ_ERROR_ENCODE_FORMAT: u32 = 8;
export const TZ_ERROR_ENCODE_MEMORY: u32 = 9;
export const TZ_ERROR_GENERIC: u32 = 10;
export const TZ_ERROR_ILLEGAL_ARGUMENT: u32 = 11;
export const TZ_ERROR_ILLEGAL_STATE: u32 = 12;
export const TZ_ERROR_MEMORY: u32 = 13;
export const TZ_ERROR_NOT_IMPLEMENTED: u32 = 14;
export const TZ_ERROR_SECURITY: u32 = 15;
export const TZ_ERROR_SHORT_BUFFER: u32 = 17;
export const TZ_ERROR_UNDEFINED: u32 = 18;

export const TZ_TYPE_NONE: u32 = 0;
export const TZ_TYPE_UINT32: u32 = 1;
export const TZ_TYPE_ARRAY: u32 = 2;

export const TZ_COMMAND_OPEN: u32 = 0xffff_fffe;
export const TZ_COMMAND_CLOSE: u32 = 0xffff_ffff;
