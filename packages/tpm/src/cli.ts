#!/usr/bin/env node
/** `casemate-tpm`: what people do with a TPM 2.0, on the command line. */
import { startProgram } from '@casemate/command-line';
import { PROGRAM } from './cli/program.js';

await startProgram(PROGRAM);
