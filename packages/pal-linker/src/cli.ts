#!/usr/bin/env node
/** `pal`: builds, signs and inspects PALs on the command line. */
import { startProgram } from '@casemate/command-line';
import { PROGRAM } from './cli/program.js';

await startProgram(PROGRAM);
