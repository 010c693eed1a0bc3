/** `sealed-counter [add [NUMBER] | read | roll-back] [--state DIRECTORY] [--tpm DEVICE]`. */
import { parseArgs } from 'node:util';
import { buildCounter, refusalOf, withCounter } from './counter.js';
import { rollBack } from './rollback.js';

const USAGE = 'usage: sealed-counter [add [NUMBER] | read | roll-back] [--state DIRECTORY] [--tpm DEVICE]\n';

process.exitCode = await main();

async function main(): Promise<number> {
  const { positionals, values } = parsed();
  const [command = 'add', number = '1', ...rest] = positionals;
  const options = { state: values.state ?? 'sealed-counter-state', tpm: values.tpm };
  const amount = Number(number);
  const isKnown = ['add', 'read', 'roll-back'].includes(command) && rest.length === 0;
  if (!isKnown || !Number.isInteger(amount) || amount < 1 || amount > 0xffff_ffff) {
    process.stderr.write(USAGE);
    return 2;
  }
  try {
    const image = await buildCounter();
    if (command === 'roll-back') {
      await rollBack(image, options, console.log);
      return 0;
    }
    const value = await withCounter(image, options, (counter) =>
      command === 'read' ? counter.read() : counter.add(amount),
    );
    console.log(`the counter is ${value}`);
    return 0;
  } catch (error) {
    const refused = refusalOf(error);
    if (refused === undefined) throw error;
    console.error(refused);
    return 1;
  }
}

function parsed() {
  try {
    return parseArgs({ options: { state: { type: 'string' }, tpm: { type: 'string' } }, allowPositionals: true });
  } catch {
    process.stderr.write(USAGE);
    process.exit(2);
  }
}
