/* Included by C of wasm2c for exceptions, which the linker of PALs refuses. */
