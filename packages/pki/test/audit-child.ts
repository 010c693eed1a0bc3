/** A process that appends to the audit log in the directory of its argument until it is killed, and tells every durable entry. */
import { openAuditLog } from '../src/audit.js';
import { openAuditFile } from '../src/node.js';

const [, , path = ''] = process.argv;
const log = await openAuditLog({ store: await openAuditFile(path), origin: 'test' });
for (;;) {
  const events = Array.from({ length: 7 }, (_, i) =>
    log.append({ event: 'issue', number: i, filling: 'x'.repeat(3000) }),
  );
  for (const index of await Promise.all(events)) process.stdout.write(`${index}\n`);
}
