// Reads vitest's JSON reports. `failed-files REPORT` prints the test files that failed, one a line. `total REPORT ALONE`
// counts REPORT, with the files of ALONE (their second run, if there was one) in place of their first.
import { existsSync, readFileSync } from 'node:fs';
import { relative } from 'node:path';

const [mode, first, second] = process.argv.slice(2);
const filesOf = (path) => (path && existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')).testResults : []);
const failedIn = (file) => file.assertionResults.filter(({ status }) => status === 'failed');
const files = filesOf(first);

if (mode === 'failed-files') {
  for (const file of files) if (file.status === 'failed') console.log(relative(process.cwd(), file.name));
} else {
  const again = new Map(filesOf(second).map((file) => [file.name, file]));
  const last = files.map((file) => again.get(file.name) ?? file);
  for (const file of files.filter(({ name }) => again.has(name))) {
    const stillFailed = new Set(failedIn(again.get(file.name)).map(({ fullName }) => fullName));
    const unsteady = failedIn(file).filter(({ fullName }) => !stillFailed.has(fullName));
    for (const { fullName } of unsteady) {
      console.log(`failed beside the others, passed alone: ${relative(process.cwd(), file.name)}: ${fullName}`);
    }
  }
  const count = (...statuses) =>
    last.flatMap((file) => file.assertionResults).filter(({ status }) => statuses.includes(status)).length;
  // A file that does not even load has no tests to count: it is one failure.
  const unloaded = last.filter((file) => file.status === 'failed' && failedIn(file).length === 0).length;
  const [passed, failed, skipped] = [count('passed'), count('failed') + unloaded, count('pending', 'skipped', 'todo')];
  process.exitCode = failed > 0 || passed === 0 ? 1 : 0;
  console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
}
