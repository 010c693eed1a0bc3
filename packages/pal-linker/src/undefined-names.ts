/** Names that code wants and nobody defines: one error for all of them, which says who wants them. */
import { PalLinkerError, type PalLinkerPlace } from './error.js';

/** How many names the error's text has beside the first. */
const MOST_NAMED = 8;

/** What was found missing so far. */
export class UndefinedNames {
  readonly #wanted = new Map<string, PalLinkerPlace>();

  /** Notes who wants a name; the first of them counts. */
  add(name: string, place: PalLinkerPlace = {}): void {
    if (!this.#wanted.has(name)) this.#wanted.set(name, { ...place, symbol: name });
  }

  /** Throws {@link PalLinkerError} with code `undefined-symbol` where something is missing. */
  assertNone(): void {
    const [first, ...others] = this.#wanted.values();
    if (first === undefined) return;
    const named = others.slice(0, MOST_NAMED).map(({ symbol, object, section }) => `${symbol} (${object}, ${section})`);
    const rest = others.length > MOST_NAMED ? ` and ${others.length - MOST_NAMED} more` : '';
    const more = others.length === 0 ? '' : `; nor of ${named.join(', ')}${rest}`;
    throw new PalLinkerError(
      'undefined-symbol',
      `link PAL: expected a definition of ${first.symbol}, got none${more}`,
      first,
    );
  }
}
