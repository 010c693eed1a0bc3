/** Run with few descriptors: judges owners, of its argument as JSON, while none is left. */
import { openSync } from 'node:fs';
import { currentOwner, type Owner, ownerState } from '../../src/owner.js';

const owners: readonly Owner[] = JSON.parse(process.argv[2] ?? '[]');
const self = currentOwner({ withBoot: true });
try {
  for (;;) openSync('/dev/null', 'r');
} catch {
  console.log(JSON.stringify([currentOwner() ?? 'none', ...owners.map((owner) => ownerState(owner, self))]));
}
