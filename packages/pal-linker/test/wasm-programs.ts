/** WebAssembly programs made at random: objects, an archive, and everything that makes a linker compute a number. */
import type { ProgramPart, Random } from './elf-programs.js';

/** The files of one program; its entry is `pal(command, in, out, rv)`, and what it computes depends on no address. */
export function randomWasmProgram(random: Random): readonly ProgramPart[] {
  const count = 2 + random(3);
  const parts = Array.from({ length: count }, (_, i) => ({
    name: `part${i}.c`,
    source: partSource(random, i, count),
    flags: flagsOf(random),
    isArchived: i > 0 && random(3) === 0,
  }));
  return [...parts, { name: 'entry.c', source: entrySource(count), flags: ['-O1'], isArchived: false }];
}

function flagsOf(random: Random): readonly string[] {
  const level = ['-O0', '-O1', '-O2', '-Os'][random(4)] ?? '-O2';
  const kinds = [[], [], ['-fPIC'], ['-fno-common'], ['-mreference-types'], ['-mbulk-memory'], ['-fno-data-sections']];
  return [level, ...(kinds[random(kinds.length)] ?? []), ...(random(4) === 0 ? ['-g'] : [])];
}

/** Part i calls only parts behind it, so that every call ends. */
function partSource(random: Random, i: number, count: number): string {
  const later = Array.from({ length: count - i - 1 }, (_, k) => i + 1 + k);
  const called = later.filter(() => random(3) > 0);
  const isWeakTwin = random(3) === 0;
  const text = ['same text', 'text', `own ${i}`, 'long text of its own and same text'][random(4)] ?? '';
  return `
#include <stdint.h>
${later.map((j) => `extern uint32_t f${j}(uint32_t); extern uint32_t value${j}; extern const char name${j}[];`).join('\n')}
uint32_t value${i} = ${random(100000)}u;
const char name${i}[] = "part ${i} ${'x'.repeat(random(40))}";
static uint32_t zeros[${1 + random(50)}];
static uint64_t wide = ${random(1000)}ull << 33;
static _Alignas(${1 << random(6)}) unsigned char aligned[${1 + random(9)}] = { ${random(200)} };
__attribute__((weak)) uint32_t chosen(void) { return ${i + 1000}; }
${random(2) === 0 ? `__attribute__((weak)) uint32_t weak_value = ${random(100)};` : 'extern uint32_t weak_value __attribute__((weak));'}
${isWeakTwin ? `extern uint32_t absent${i}(uint32_t, uint64_t) __attribute__((weak)); extern uint32_t missing${i} __attribute__((weak));` : ''}
__attribute__((section("registry"), used)) const uint32_t registered${i} = ${random(1000)};
${random(3) === 0 ? `__attribute__((constructor(${101 + random(100)}))) static void prepare(void) { zeros[0] += ${random(100)}; value${i} ^= ${random(1000)}; }` : ''}
__attribute__((visibility("hidden"))) uint32_t hidden${i}(uint32_t x) { return x * ${1 + random(99)}; }
uint32_t alias${i}(uint32_t) __attribute__((weak, alias("hidden${i}")));
uint32_t unused${i}(uint32_t x) { extern uint32_t nowhere(uint32_t); return ${random(2) === 0 ? 'nowhere(x)' : 'x'}; }
static const char *say(uint32_t x) { return x % 2 ? "${text}" : "text"; }
__attribute__((noinline)) static uint32_t local(uint32_t x) {
  switch (x % 9) {
    case 0: return ${random(999)}; case 1: return ${random(999)}; case 2: return x ^ ${random(999)};
    case 3: return x + ${random(999)}; case 4: return ${random(999)}; case 5: return x * 3;
    case 6: return ${random(999)}; case 7: return x - 7; default: return x >> 1;
  }
}
static uint32_t (*const functions[])(uint32_t) = { local, hidden${i}, alias${i}${called.map((j) => `, f${j}`).join('')} };
static uint32_t *pointers[] = { &value${i}, &zeros[0]${later.map((j) => `, &value${j}`).join('')} };
static const char *const names[] = { name${i}, "text", "${text}" + 1${later.map((j) => `, name${j} + 2`).join('')} };
static uint32_t many(int count, ...) {
  __builtin_va_list list; uint32_t sum = 0;
  __builtin_va_start(list, count);
  while (count--) sum = sum * 31 + __builtin_va_arg(list, uint32_t);
  __builtin_va_end(list);
  return sum;
}
uint32_t f${i}(uint32_t x) {
  volatile uint32_t frame[${1 + random(20)}];
  frame[0] = x;
  uint32_t sum = frame[0] + chosen() + aligned[0] + (&weak_value ? weak_value : 77);
  sum += (uint32_t)((uintptr_t)aligned % _Alignof(aligned));
  for (unsigned k = 0; k < sizeof functions / sizeof *functions; k++) sum = sum * 31 + functions[k](sum + k);
  for (unsigned k = 0; k < sizeof pointers / sizeof *pointers; k++) sum = sum * 31 + (*pointers[k])++;
  for (unsigned k = 0; k < sizeof names / sizeof *names; k++) sum = sum * 31 + (unsigned char)names[k][k % 3];
  for (const char *t = say(sum); *t; t++) sum = sum * 33 + (unsigned char)*t;
  sum ^= (uint32_t)(wide += sum) ^ (uint32_t)(wide >> 32);
  sum += many(3, sum, x, 5u);
  ${called.map((j) => `sum ^= f${j}(sum) + value${j};`).join(' ')}
  ${isWeakTwin ? `if (absent${i}) sum += absent${i}(sum, 3); if (&missing${i}) sum += missing${i};` : ''}
  zeros[0] += sum;
  return sum + zeros[0] + registered${i};
}
`;
}

function entrySource(count: number): string {
  const calls = Array.from({ length: count }, (_, i) => i);
  return `
#include <stdint.h>
${calls.map((i) => `extern uint32_t f${i}(uint32_t);`).join('\n')}
extern const uint32_t __start_registry[], __stop_registry[];
extern unsigned char __heap_base, __data_end;
void pal(uint32_t command, void *in, void *out, uint32_t *rv) {
  uint32_t *header = out, *words = header + 4, n = 0;
  (void)in;
  ${calls.map((i) => `words[n++] = f${i}(command + ${i});`).join('\n  ')}
  for (const uint32_t *at = __start_registry; at < __stop_registry; at++) words[n++] = *at;
  words[n++] = &__heap_base >= &__data_end && (uintptr_t)&__heap_base % 16 == 0;
  words[n++] = (uint32_t)(uintptr_t)__builtin_wasm_memory_size(0) >= (uint32_t)(uintptr_t)&__heap_base / 65536;
  header[2] = 4 * n;
  *rv = words[0];
}
`;
}
