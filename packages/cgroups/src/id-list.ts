/** Lists of CPUs and memory nodes as the kernel writes them, `0-3,6`: cpuset(7) "List format". */

/** The numbers in a list; undefined for what is none. An empty list is an empty set. */
export function parseIdList(list: string | readonly number[]): ReadonlySet<number> | undefined {
  const parts = typeof list === 'string' ? list.trim().split(',').filter(Boolean) : list.map(String);
  const ids = new Set<number>();
  for (const part of parts) {
    const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(part);
    if (!match) return undefined;
    const [first, last] = [Number(match[1]), Number(match[2] ?? match[1])];
    if (last < first || last > MAX_ID) return undefined;
    for (let id = first; id <= last; id++) ids.add(id);
  }
  return ids;
}

/** The shortest list of `ids`. */
export function printIdList(ids: ReadonlySet<number>): string {
  const sorted = [...ids].sort((a, b) => a - b);
  const runs: [number, number][] = [];
  for (const id of sorted) {
    const run = runs.at(-1);
    if (run && run[1] === id - 1) run[1] = id;
    else runs.push([id, id]);
  }
  return runs.map(([a, b]) => (a === b ? `${a}` : `${a}-${b}`)).join(',');
}

/** Whether both sets have the same members. */
export function sameIds(a: ReadonlySet<number>, b: ReadonlySet<number>): boolean {
  return a.size === b.size && [...a].every((id) => b.has(id));
}

const MAX_ID = 16_384; // twice what CONFIG_NR_CPUS allows on any architecture
