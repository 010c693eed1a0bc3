import { defineConfig } from 'tsup';

export default defineConfig({
  entry: ['src/main.ts', 'src/verifier.ts', 'src/compile-counter.ts'],
  format: 'esm',
  target: 'node20',
  clean: true,
});
