/** The frame of the commands of the packages: options, help, secrets, files, failures. Private: it is bundled into each of them. */
export type {
  BaseContext,
  CommandDefinition,
  Json,
  OptionDefinitions,
  ProgramDefinition,
  Result,
} from './definition.js';
export { EXIT, type ExitCode, Failure, kindOf, type ToldFailure, usage } from './failure.js';
export { readInputFile, writeOutputFile } from './files.js';
export { runProgram, startProgram } from './program.js';
export { readSecret, SOURCES } from './secret-source.js';
export { counted, pageWidth, type Style, type Surroundings, table } from './terminal.js';
