/** Recording the traffic of a TPM to a file, reading it as text, and answering tests from it. */
export {
  type ExplainedCommand,
  type ExplainedExchange,
  type ExplainedResponse,
  type ExplainedSession,
  type ExplainOptions,
  explainRecording,
  type NamedValue,
} from './recorder/explain.js';
export { openRecordingFile } from './recorder/file.js';
export { parseRecording } from './recorder/parse.js';
export { type RecordingSink, type RecordOptions, record } from './recorder/record.js';
export type {
  RecordedCommand,
  RecordedControl,
  RecordedError,
  RecordedEvent,
  RecordedResponse,
  Recording,
} from './recorder/recording.js';
export { type ReplayOptions, type ReplayTransport, replay } from './recorder/replay.js';
export { type Spelled, type SpelledJson, spelledJson } from './recorder/spelled.js';
export { exchangeJson, exchangeText, type TextOptions } from './recorder/text.js';
