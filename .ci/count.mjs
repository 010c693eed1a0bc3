// Reads the reports of ./reporter.mjs. `failed-files REPORT` prints the test files that failed, one a line. `total REPORT ALONE`
// counts REPORT, with the files of ALONE (their second run, if there was one) in place of their first.
import { existsSync, readFileSync } from 'node:fs';
import { relative } from 'node:path';

/** The test files of a report that failed, relative to `root`. */
export function failedFiles(report, root) {
  return report.testResults.filter(({ status }) => status === 'failed').map(({ name }) => relative(root, name));
}

/** What both runs came to: the lines to print, and whether all is well. `alone` is empty where there was no second run. */
export function total(report, alone, root) {
  const again = new Map(alone.testResults.map((file) => [file.name, file]));
  const last = report.testResults.map((file) => again.get(file.name) ?? file);
  const tests = last.flatMap((file) => file.assertionResults);
  const count = (...statuses) => tests.filter(({ status }) => statuses.includes(status)).length;
  // A file that does not even load has no tests to count: it is one failure.
  const unloaded = last.filter((file) => file.status === 'failed' && failedIn(file).length === 0);
  // An error that belongs to no test is one too, and a file that passes alone does not take it back: nobody knows whose it was.
  const unhandled = [...(report.unhandledErrors ?? []), ...(alone.unhandledErrors ?? [])];
  const [passed, skipped] = [count('passed'), count('pending', 'skipped', 'todo')];
  const failed = count('failed') + unloaded.length + unhandled.length;
  const lines = [
    ...report.testResults.flatMap((file) => unsteadyIn(file, again.get(file.name), root)),
    ...unloaded.map(({ name }) => `failed outside of its tests: ${relative(root, name)}`),
    ...unhandled.map((error) => `failed outside of all tests: ${error}`),
    `${passed} passed, ${failed} failed, ${skipped} skipped`,
  ];
  return { lines, isGood: failed === 0 && passed > 0 };
}

function failedIn({ assertionResults }) {
  return assertionResults.filter(({ status }) => status === 'failed');
}

/** A line for each test that failed in the first run and not in the second. */
function unsteadyIn(first, second, root) {
  if (second === undefined) return [];
  const stillFailed = new Set(failedIn(second).map(({ fullName }) => fullName));
  return failedIn(first)
    .filter(({ fullName }) => !stillFailed.has(fullName))
    .map(({ fullName }) => `failed beside the others, passed alone: ${relative(root, first.name)}: ${fullName}`);
}

function read(path) {
  return path && existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : { testResults: [] };
}

if (process.argv[1] === import.meta.filename) {
  const [mode, first, second] = process.argv.slice(2);
  if (mode === 'failed-files') {
    for (const file of failedFiles(read(first), process.cwd())) console.log(file);
  } else {
    const { lines, isGood } = total(read(first), read(second), process.cwd());
    for (const line of lines) console.log(line);
    process.exitCode = isGood ? 0 : 1;
  }
}
