/** The version that the program tells. */

/** That of the package. */
export const VERSION = '0.1.0';
