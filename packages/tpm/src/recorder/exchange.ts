/** Commands and what came of them. */
import type { RecordedCommand, RecordedControl, RecordedError, RecordedEvent, RecordedResponse } from './recording.js';

/** A command with its response or failure; or a response without its command, or something beside commands. */
export interface Exchange {
  /** The command; none where the recording began after it. */
  readonly command?: RecordedCommand;
  /** Its response; none where the recording ended before it. */
  readonly response?: RecordedResponse;
  /** Why there is no response. */
  readonly error?: RecordedError;
  /** Something beside commands. */
  readonly control?: RecordedControl;
}

/** Pairs commands with what came of them, in the order of the commands. */
export function exchangesIn(events: readonly RecordedEvent[]): readonly Exchange[] {
  const exchanges: { -readonly [K in keyof Exchange]: Exchange[K] }[] = [];
  const open = new Map<number, (typeof exchanges)[number]>();
  for (const event of events) {
    const waiting = open.get(event.connection);
    switch (event.type) {
      case 'command': {
        const exchange = { command: event };
        exchanges.push(exchange);
        open.set(event.connection, exchange);
        break;
      }
      case 'response':
        open.delete(event.connection);
        if (waiting) waiting.response = event;
        else exchanges.push({ response: event });
        break;
      case 'error':
        open.delete(event.connection);
        if (waiting) waiting.error = event;
        else exchanges.push({ error: event });
        break;
      case 'control':
        exchanges.push({ control: event });
        break;
    }
  }
  return exchanges;
}
