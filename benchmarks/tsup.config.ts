import { readdirSync } from 'node:fs';
import { defineConfig } from 'tsup';

export default defineConfig({
  entry: readdirSync(new URL('src/', import.meta.url))
    .filter((file) => file.endsWith('.bench.ts'))
    .map((file) => `src/${file}`),
  format: 'esm',
  target: 'node20',
  clean: true,
});
