#!/usr/bin/env node
/** `casemate-pki`: an authority on the command line. */
import { main } from './cli/program.js';
import { processSurroundings } from './cli/terminal.js';

// A reader that has seen enough, such as head, is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));
process.exitCode = await main(process.argv.slice(2), processSurroundings());
