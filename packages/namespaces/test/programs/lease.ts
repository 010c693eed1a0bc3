/** Run as a process of its own, beside others: takes numbers, tells which, and keeps them until it is killed or its input ends. */
import { takeLease } from '../../src/leases.js';

const [directory = '', count = '1', wanted = '1'] = process.argv.slice(2);
const indexes: number[] = [];
for (let i = 0; i < Number(wanted); i++) {
  indexes.push((await takeLease(directory, { kind: 'test', count: Number(count) })).index);
}
console.log(JSON.stringify(indexes));
process.stdin.resume();
