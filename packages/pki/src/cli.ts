#!/usr/bin/env node
/** `casemate-pki`: an authority on the command line. */
import { startProgram } from '@casemate/command-line';
import { PROGRAM } from './cli/program.js';

await startProgram(PROGRAM);
