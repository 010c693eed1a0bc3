/** What this TPM says it is: Part 2, 6.13, the fixed properties. */

/** TPM_PT_FIRMWARE_VERSION_1 and _2 in one: the package's version, 0.1.0. */
export const FIRMWARE_VERSION = 0x0000_0001_0000_0000n;

/** TPM_PT_MANUFACTURER: four ASCII letters, of no manufacturer that the TCG has registered. */
export const MANUFACTURER = 'CSMT';

/** TPM_PT_VENDOR_STRING_1 to _4, four letters each. Tools take a first one of `SW  ` for a simulator that has everything. */
export const VENDOR_STRINGS = ['SW  ', ' uTP', 'M\0\0\0', '\0\0\0\0'] as const;
