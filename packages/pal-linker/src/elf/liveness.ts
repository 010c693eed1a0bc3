/** What a PAL needs: the sections that its entry reaches. */
import { PalLinkerError, type PalLinkerPlace } from '../error.js';
import { UndefinedNames } from '../undefined-names.js';
import { SHF, SHN, SHT, STB, STT } from './constants.js';
import { type ElfSection, eachRelocation } from './object.js';
import { type Linkage, type LinkageOptions, type LinkedObject, type SharedSymbol, sharedSymbol } from './symbols.js';

/** What is kept. */
export interface Live {
  /** The numbers of the sections that are kept, for each object. */
  readonly sections: ReadonlyMap<LinkedObject, ReadonlySet<number>>;
  /** Common symbols that are referred to, in the order of their names. */
  readonly commons: readonly SharedSymbol[];
  /** Names that the linker itself has to define. */
  readonly provided: ReadonlySet<string>;
}

/**
 * Follows relocations from the roots. Throws {@link PalLinkerError}: `undefined-symbol` with all who want it, `thread-local`,
 * `constructor` where code would have to run before the entry and nothing refers to its table, `relocation` where
 * something refers to a discarded group.
 */
export function findLive(linkage: Linkage, options: LinkageOptions): Live {
  return new Marking(linkage, options).finish();
}

const INIT_ARRAY = '__init_array_start';
/** Tables of functions, and the name by which start code runs them. */
const TABLES: ReadonlyMap<number, string> = new Map([
  [SHT.PREINIT_ARRAY, '__preinit_array_start'],
  [SHT.INIT_ARRAY, INIT_ARRAY],
  [SHT.FINI_ARRAY, '__fini_array_start'],
]);
const TABLE_STARTS: readonly string[] = [...TABLES.values()];
const BOUND = /^__(?:start|stop)_([A-Za-z_]\w*)$/;

/** One walk over everything that is reachable. */
class Marking {
  readonly #linkage: Linkage;
  readonly #isProvided: LinkageOptions['isProvided'];
  readonly #live = new Map<LinkedObject, Set<number>>();
  readonly #waiting: [LinkedObject, ElfSection][] = [];
  readonly #commons = new Set<SharedSymbol>();
  readonly #provided = new Set<string>();
  readonly #undefined = new UndefinedNames();
  /** Sections by their name, for those whose bounds somebody asks for. */
  #named: ReadonlyMap<string, readonly (readonly [LinkedObject, number])[]> | undefined;
  #objectsSeen = 0;

  constructor(linkage: Linkage, { roots, isProvided }: LinkageOptions) {
    this.#linkage = linkage;
    this.#isProvided = isProvided;
    for (const name of roots) this.#refer(sharedSymbol(linkage, name), { isWeak: false });
    this.#markRetained();
    for (let next = this.#waiting.pop(); next !== undefined; next = this.#waiting.pop()) {
      this.#follow(...next);
      this.#markRetained();
    }
  }

  finish(): Live {
    this.#undefined.assertNone();
    this.#assertNoConstructors();
    const commons = [...this.#commons].filter(({ common }) => common !== undefined);
    commons.sort((a, b) => (a.name < b.name ? -1 : 1));
    return { sections: this.#live, commons, provided: this.#provided };
  }

  #mark(object: LinkedObject, index: number): void {
    const section = object.elf.sections[index];
    if (section === undefined || (section.flags & SHF.ALLOC) === 0) return;
    const place = { object: object.elf.name, section: section.name };
    if ((section.flags & SHF.TLS) !== 0)
      throw new PalLinkerError('thread-local', 'link PAL: expected no thread-local storage, got some', place);
    const live = this.#live.get(object) ?? new Set();
    this.#live.set(object, live);
    if (live.has(index)) return;
    live.add(index);
    this.#waiting.push([object, section]);
  }

  #follow(object: LinkedObject, section: ElfSection): void {
    eachRelocation(object.elf, section, (_type, offset, index) => {
      const symbol = object.elf.symbols[index];
      if (symbol === undefined || index === 0) return;
      const place = { object: object.elf.name, section: section.name, symbol: symbol.name, offset };
      if (symbol.type === STT.TLS)
        throw new PalLinkerError('thread-local', 'link PAL: expected no thread-local storage, got a reference', place);
      const shared = object.shared[index];
      if (shared) {
        this.#refer(shared, { isWeak: symbol.binding === STB.WEAK, place });
        return;
      }
      if (object.discarded.has(symbol.section))
        throw new PalLinkerError(
          'relocation',
          'link PAL: refer to a section of a group that another object gave',
          place,
        );
      if (symbol.section === SHN.UNDEF) this.#undefined.add(symbol.name || `local symbol ${index}`, place);
      this.#mark(object, symbol.section);
    });
  }

  #refer(shared: SharedSymbol, { isWeak, place }: { readonly isWeak: boolean; readonly place?: PalLinkerPlace }): void {
    const { name } = shared;
    const bound = BOUND.exec(name)?.[1];
    const { definition } = shared;
    if (definition) this.#mark(definition.from, definition.symbol.section);
    else if (shared.common) this.#commons.add(shared);
    else if (bound !== undefined || this.#isProvided(name)) this.#provide(name, bound);
    else if (!isWeak) this.#undefined.add(name, place);
  }

  #provide(name: string, bound: string | undefined): void {
    const isFirst = !this.#provided.has(name);
    this.#provided.add(name);
    if (isFirst && bound !== undefined) this.#markNamed(bound);
    // Tables are looked for in all objects again.
    if (isFirst && TABLE_STARTS.includes(name)) this.#objectsSeen = 0;
  }

  #markNamed(name: string): void {
    this.#named ??= namedSections(this.#linkage.objects);
    for (const [object, index] of this.#named.get(name) ?? []) this.#mark(object, index);
  }

  /** Sections that are kept though nothing refers to them: of objects that came in since the last time. */
  #markRetained(): void {
    const { objects } = this.#linkage;
    for (; this.#objectsSeen < objects.length; this.#objectsSeen++) {
      const object = objects[this.#objectsSeen];
      if (object === undefined) return;
      for (const section of object.elf.sections) {
        if (this.#isRetained(section) && !object.discarded.has(section.index)) this.#mark(object, section.index);
      }
    }
  }

  #isRetained({ type, flags }: ElfSection): boolean {
    if ((flags & SHF.GNU_RETAIN) !== 0) return true;
    const start = TABLES.get(type);
    return start !== undefined && this.#provided.has(start);
  }

  #assertNoConstructors(): void {
    for (const { elf, discarded } of this.#linkage.objects) {
      const found = elf.sections.find(
        (section) => section.size > 0 && isConstructors(section) && !discarded.has(section.index),
      );
      if (found === undefined || this.#isRetained(found)) continue;
      const start = TABLES.get(found.type);
      const problem = start
        ? `expected start code that runs constructors (it refers to ${start}), got constructors alone`
        : `expected constructors in .init_array, got ${found.name}`;
      throw new PalLinkerError('constructor', `link PAL: ${problem}`, { object: elf.name, section: found.name });
    }
  }
}

/** Sections with names that C code can write. */
function namedSections(
  objects: readonly LinkedObject[],
): ReadonlyMap<string, readonly (readonly [LinkedObject, number])[]> {
  const named = new Map<string, [LinkedObject, number][]>();
  for (const object of objects) {
    for (const { name, index } of object.elf.sections) {
      if (!/^[A-Za-z_]\w*$/.test(name) || object.discarded.has(index)) continue;
      const known = named.get(name);
      if (known) known.push([object, index]);
      else named.set(name, [[object, index]]);
    }
  }
  return named;
}

function isConstructors({ type, name }: ElfSection): boolean {
  return type === SHT.INIT_ARRAY || type === SHT.PREINIT_ARRAY || /^\.ctors(?:\.|$)/.test(name);
}
