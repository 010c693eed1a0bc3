/** Return codes, record types and reserved commands of the TZ API; the numbers of `src/return-code.ts`. */
export const TZ_SUCCESS: u32 = 0;
export const TZ_PENDING: u32 = 1;
export const TZ_ERROR_ACCESS_DENIED: u32 = 2;
export const TZ_ERROR_BUSY: u32 = 3;
export const TZ_ERROR_CANCEL: u32 = 4;
export const TZ_ERROR_COMMUNICATION: u32 = 5;
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
export const TZ_ERROR_SERVICE: u32 = 16;
export const TZ_ERROR_SHORT_BUFFER: u32 = 17;
export const TZ_ERROR_UNDEFINED: u32 = 18;

export const TZ_TYPE_NONE: u32 = 0;
export const TZ_TYPE_UINT32: u32 = 1;
export const TZ_TYPE_ARRAY: u32 = 2;
export const TZ_TYPE_MEM: u32 = 3;

export const TZ_LOGIN_PUBLIC: u32 = 0;
export const TZ_LOGIN_CLIENT_DATA: u32 = 1;
export const TZ_LOGIN_USER: u32 = 2;
export const TZ_LOGIN_GROUP: u32 = 4;
export const TZ_LOGIN_NAME: u32 = 8;
export const TZ_LOGIN_DIGEST: u32 = 16;
export const TZ_LOGIN_ALL: u32 = 31;

export const TZ_MEM_SERVICE_RO: u32 = 1;
export const TZ_MEM_SERVICE_WO: u32 = 2;
export const TZ_MEM_SERVICE_RW: u32 = 3;

export const TZ_NAMESPACE_SERVICE: u32 = 0xf000_0001;
export const TZ_PROPERTY_SVC_VENDOR: u32 = 2;

export const TZ_COMMAND_PROPERTIES: u32 = 0xffff_fffd;
export const TZ_COMMAND_OPEN: u32 = 0xffff_fffe;
export const TZ_COMMAND_CLOSE: u32 = 0xffff_ffff;
