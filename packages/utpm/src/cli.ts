#!/usr/bin/env node
/** `utpm`: a TPM 2.0 on sockets, with the command line of swtpm, so that what starts swtpm can start it. */
import { main } from './server/command-line.js';

process.exitCode = await main(process.argv.slice(2));
