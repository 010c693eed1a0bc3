import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { build, type Plugin } from 'esbuild';
import { describe, expect } from 'vitest';
import type { Outcome } from './browser/vitest.js';
import { itWith } from './requirement.js';

/** The suites that need neither a process nor a file. */
const SUITES = ['utpm.test.ts', 'cryptography.test.ts'];
const BROWSERS = ['chromium', 'chromium-browser', 'google-chrome'];
const LIMIT = 300_000;

const browser = BROWSERS.find((name) => spawnSync('which', [name]).status === 0);

describe('the unit suite with the @noble provider', () => {
  itWith(browser ?? 'chromium')(
    'passes in a browser, each test that passes in Node',
    async () => {
      const source = await bundleSuites();
      const inNode = await runInNode(source);
      const inBrowser = await runInBrowser(browser ?? '', source);
      process.stdout.write(`utpm in Node: ${inNode.passed.length} passed; in ${browser}: ${inBrowser.passed.length}\n`);
      expect(inNode.failed).toEqual([]);
      expect(inBrowser.failed).toEqual([]);
      expect(inBrowser.passed).toEqual(inNode.passed);
      expect(inBrowser.passed.length).toBeGreaterThan(30);
    },
    LIMIT,
  );
});

/** The same test sources for both: only vitest and the list of providers are others. */
async function bundleSuites(): Promise<string> {
  const imports = SUITES.map((suite) => `import './${suite}';`).join('');
  const { outputFiles } = await build({
    stdin: {
      contents: `${imports}import { runAll } from 'vitest'; export const outcome = await runAll();`,
      resolveDir: import.meta.dirname,
    },
    bundle: true,
    write: false,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    logLevel: 'error',
    tsconfig: join(import.meta.dirname, '../tsconfig.json'),
    plugins: [standIns],
  });
  const [file] = outputFiles;
  if (file === undefined) throw new Error('the suites were not bundled');
  expect(file.text).not.toMatch(/from\s*["']node:/);
  return file.text;
}

const standIns: Plugin = {
  name: 'stand-ins',
  setup({ onResolve }) {
    const own = (name: string) => join(import.meta.dirname, 'browser', name);
    // They are imported for nothing but what they do, which the package says it has none of.
    onResolve({ filter: /\.test\.ts$/ }, ({ path }) => ({ path: join(import.meta.dirname, path), sideEffects: true }));
    onResolve({ filter: /^vitest$/ }, () => ({ path: own('vitest.ts') }));
    onResolve({ filter: /^\.\/providers\.js$/ }, () => ({ path: own('providers.ts') }));
  },
};

// In a process of its own: what the bundle declares globally is not to meet the vitest that runs this test.
async function runInNode(source: string): Promise<Outcome> {
  const directory = await mkdtemp(join(tmpdir(), 'utpm-browser-'));
  try {
    const file = join(directory, 'suites.mjs');
    await writeFile(file, `${source}\nprocess.stdout.write(JSON.stringify(outcome));`);
    const { stdout } = await promisify(execFile)(process.execPath, [file], { maxBuffer: 1 << 24 });
    return JSON.parse(stdout);
  } finally {
    await rm(directory, { recursive: true });
  }
}

async function runInBrowser(program: string, source: string): Promise<Outcome> {
  const profile = await mkdtemp(join(tmpdir(), 'utpm-profile-'));
  const page = await servePage(source);
  // No sandbox: Chromium's own needs user namespaces, and nothing but this page is opened.
  const flags = ['--headless=new', '--no-sandbox', '--disable-gpu', '--no-first-run', `--user-data-dir=${profile}`];
  const child = spawn(program, [...flags, page.url], { stdio: 'ignore', detached: true });
  try {
    return await Promise.race([page.outcome, ended(child)]);
  } finally {
    page.server.close();
    page.server.closeAllConnections();
    await stopGroup(child);
    await rm(profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

interface Page {
  readonly url: string;
  readonly server: Server;
  readonly outcome: Promise<Outcome>;
}

const HTML = `<!doctype html><script type="module">
const send = (value) => fetch('/outcome', { method: 'POST', body: JSON.stringify(value) });
try { send((await import('/suites.mjs')).outcome) } catch (error) { send({ passed: [], failed: [{ name: 'the page', error: String(error) }] }) }
</script>`;

// From 127.0.0.1, which is a secure context: WebCrypto is there for those alone.
function servePage(source: string): Promise<Page> {
  return new Promise((resolve) => {
    let report: (outcome: Outcome) => void = () => undefined;
    const outcome = new Promise<Outcome>((done) => {
      report = done;
    });
    const server = createServer((request, response) => {
      if (request.method === 'POST') {
        const parts: Buffer[] = [];
        request.on('data', (part: Buffer) => parts.push(part));
        request.on('end', () => {
          response.end();
          report(JSON.parse(Buffer.concat(parts).toString()));
        });
        return;
      }
      const isSource = request.url === '/suites.mjs';
      response.setHeader('content-type', isSource ? 'text/javascript' : 'text/html');
      response.end(isSource ? source : HTML);
    });
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      const port = typeof address === 'object' && address !== null ? address.port : 0;
      resolve({ url: `http://127.0.0.1:${port}/`, server, outcome });
    });
  });
}

function ended(child: ChildProcess): Promise<never> {
  return new Promise((_, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`the browser ended with ${code} before the tests did`)));
  });
}

// The browser is several processes, which are one group.
async function stopGroup(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null) return;
  const exit = new Promise((resolve) => child.once('exit', resolve));
  process.kill(-child.pid, 'SIGKILL');
  await exit;
}
