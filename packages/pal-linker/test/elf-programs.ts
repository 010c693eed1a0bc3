/** Programs made at random: objects, an archive, and everything that makes a linker compute an address. */

/** One source file, its compiler flags, and whether it goes into the archive. */
export interface ProgramPart {
  readonly name: string;
  readonly source: string;
  readonly flags: readonly string[];
  readonly isArchived: boolean;
}

/** A seeded generator of numbers below `bound` (mulberry32). */
export type Random = (bound: number) => number;

/** The same seed gives the same numbers on every machine. */
export function seeded(seed: number): Random {
  let state = seed >>> 0;
  return (bound) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % bound;
  };
}

const MODELS = {
  x86: [
    ['-fno-pic'],
    ['-fno-pic', '-mcmodel=large'],
    ['-fPIE'],
    ['-fPIC'],
    ['-fPIC', '-fno-plt'],
    ['-fPIC', '-mcmodel=medium'],
    ['-fPIC', '-mcmodel=large'],
    ['-fPIC', '-fno-plt', '-Wa,-mrelax-relocations=no'],
  ],
  arm: [['-fno-pic'], ['-fPIC'], ['-fPIE'], ['-fno-pic', '-mcmodel=large'], ['-fPIC', '-mcmodel=tiny']],
} as const;

/** The files of one program; its entry is `pal(command, in, out, rv)`, and what it computes depends on no address. */
export function randomProgram(random: Random, machine: 'x86' | 'arm' = 'x86'): readonly ProgramPart[] {
  const count = 3 + random(4);
  const parts = Array.from({ length: count }, (_, i) => ({
    name: `part${i}.c`,
    source: partSource(random, i, count),
    flags: flagsOf(random, machine),
    isArchived: i > 0 && random(3) === 0,
  }));
  const extra = machine === 'x86' ? [assemblyPart(random, count)] : [];
  return [
    ...parts,
    ...extra,
    { name: 'entry.c', source: entrySource(count, extra.length), flags: [], isArchived: false },
  ];
}

function flagsOf(random: Random, machine: 'x86' | 'arm'): readonly string[] {
  const level = ['-O0', '-O1', '-O2', '-Os'][random(4)] ?? '-O2';
  const sections = random(2) === 0 ? ['-ffunction-sections', '-fdata-sections'] : [];
  const models = MODELS[machine];
  const model = models[random(models.length)] ?? [];
  return [level, '-fcommon', ...sections, ...model];
}

/** Part i calls only parts behind it, so that every call ends. */
function partSource(random: Random, i: number, count: number): string {
  const later = Array.from({ length: count - i - 1 }, (_, k) => i + 1 + k);
  const called = later.filter(() => random(3) > 0);
  const isWeakTwin = random(3) === 0;
  const common = 1 + random(6);
  const text = ['same text', 'text', `own ${i}`, 'long text of its own and same text'][random(4)] ?? '';
  return `
#include <stdint.h>
${later.map((j) => `extern uint32_t f${j}(uint32_t); extern uint32_t value${j}; extern const char name${j}[];`).join('\n')}
uint32_t shared[${common}]; /* common: the largest of all parts counts */
uint32_t value${i} = ${random(100000)}u;
const char name${i}[] = "part ${i} ${'x'.repeat(random(40))}";
static uint32_t zeros[${1 + random(50)}];
__attribute__((weak)) uint32_t chosen(void) { return ${i + 1000}; }
${isWeakTwin ? `extern uint32_t absent${i}(void) __attribute__((weak));` : ''}
__attribute__((section("registry"), used)) static const uint32_t registered${i} = ${random(1000)};
static const char *say(uint32_t x) { return x % 3 == 0 ? "${text}" : x % 3 == 1 ? "text" : "${text}" + 2; }
static const int *wide(uint32_t x) { return x % 2 ? (const int *)L"wide ${text}" : (const int *)L"${text}"; }
__attribute__((noinline)) static double scale(uint32_t x) { return (double)x * ${random(9)}.5 + 0.25 * ${i % 2}; }
__attribute__((noinline)) static uint32_t local(uint32_t x) {
  switch (x % 9) {
    case 0: return ${random(999)}; case 1: return ${random(999)}; case 2: return x ^ ${random(999)};
    case 3: return x + ${random(999)}; case 4: return ${random(999)}; case 5: return x * 3;
    case 6: return ${random(999)}; case 7: return x - 7; default: return x >> 1;
  }
}
static uint32_t (*const functions[])(uint32_t) = { local${called.map((j) => `, f${j}`).join('')} };
static uint32_t *pointers[] = { &value${i}, &zeros[0]${later.map((j) => `, &value${j}`).join('')} };
static const char *const names[] = { name${i}, "${text}", "text" + 1${later.map((j) => `, name${j} + 2`).join('')} };
uint32_t f${i}(uint32_t x) {
  uint32_t sum = x + chosen();
  for (unsigned k = 0; k < sizeof functions / sizeof *functions; k++) sum = sum * 31 + functions[k](sum + k);
  for (unsigned k = 0; k < sizeof pointers / sizeof *pointers; k++) sum = sum * 31 + (*pointers[k])++;
  for (unsigned k = 0; k < sizeof names / sizeof *names; k++) sum = sum * 31 + (unsigned char)names[k][2];
  for (const char *t = say(sum); *t; t++) sum = sum * 33 + (unsigned char)*t;
  for (const int *t = wide(sum); *t; t++) sum = sum * 33 + (unsigned)*t;
  sum += (uint32_t)(int64_t)scale(sum & 0xffff);
  ${called.map((j) => `sum ^= f${j}(sum) + value${j};`).join(' ')}
  ${isWeakTwin ? `if (absent${i}) sum += absent${i}();` : ''}
  shared[${random(common)}] += sum;
  zeros[0] += shared[0];
  return sum + zeros[0] + registered${i};
}
`;
}

function entrySource(count: number, assembly: number): string {
  const calls = Array.from({ length: count }, (_, i) => i);
  return `
#include <stdint.h>
${calls.map((i) => `extern uint32_t f${i}(uint32_t);`).join('\n')}
extern const uint32_t __start_registry[], __stop_registry[];
${assembly > 0 ? 'extern uint32_t assembled(void);' : ''}
void pal(uint32_t command, void *in, void *out, uint32_t *rv) {
  uint32_t *header = out, *words = header + 4, n = 0;
  (void)in;
  ${calls.map((i) => `words[n++] = f${i}(command + ${i});`).join('\n  ')}
  for (const uint32_t *at = __start_registry; at < __stop_registry; at++) words[n++] = *at;
  ${assembly > 0 ? 'words[n++] = assembled();' : ''}
  header[2] = 4 * n;
  *rv = words[0];
}
`;
}

/** What compilers rarely write: numbers of every width, distances, sizes, the table of addresses by hand. */
function assemblyPart(random: Random, count: number): ProgramPart {
  const target = `value${random(count)}`;
  const small = random(100);
  const source = `
  .intel_syntax noprefix
  .globl assembled, small_number, big_number
  .set small_number, ${small}
  .set big_number, ${40000 + random(1000)}
  .hidden hidden_number
  .section .text.assembled,"ax",@progbits
  .type assembled, @function
assembled:
  xor eax, eax
  lea rdx, [rip + table]
  mov rcx, [rdx]
  add eax, [rcx]
  movsxd rcx, dword ptr [rdx + 8]
  add rcx, rdx
  add eax, [rcx + 8] # table + 8 holds its distance from there
  mov rcx, [rdx + 16]
  add rcx, rdx
  add eax, [rcx + 16]
  movzx ecx, word ptr [rdx + 24]
  add eax, ecx
  movzx ecx, byte ptr [rdx + 26]
  add eax, ecx
  mov ecx, dword ptr [rdx + 28]
  add eax, ecx
  add eax, dword ptr [rdx + 32]
  mov rcx, qword ptr ${target}@GOTPCREL[rip]
  add eax, [rcx]
  mov ecx, dword ptr [rdx + 40]
  add eax, [rcx]
  mov rcx, hidden_number@GOTPCREL[rip]
  add eax, [rcx]
  cmp rcx, hidden_number@GOTPCREL[rip]
  jne 1f
  add eax, 17
1:
  mov r9, rcx
  sub r9, hidden_number@GOTPCREL[rip]
  add eax, r9d
  xor r9, hidden_number@GOTPCREL[rip]
  mov ecx, [r9]
  add eax, ecx
  test r9, hidden_number@GOTPCREL[rip]
  jz 2f
  add eax, ${random(1000)}
2:
  mov rdx, -1
  and rdx, ${target}@GOTPCREL[rip]
  add eax, [rdx]
  mov rcx, qword ptr [rip + pieces]
  movzx ecx, byte ptr [rcx]
  add eax, ecx
  mov rcx, qword ptr [rip + pieces + 8]
  add eax, dword ptr [rcx + 4]
  lea rcx, [rip + second_piece + 4]
  movzx ecx, byte ptr [rcx]
  add eax, ecx
  call qword ptr leaf@GOTPCREL[rip]
  jmp qword ptr finish@GOTPCREL[rip]
  .size assembled, . - assembled
  .section .text.leaf,"ax",@progbits
leaf:
  add eax, ${random(100)}
  ret
finish:
  add eax, ${random(100)}
  ret
  .data
hidden_number:
  .long ${random(5000)}
  .section .rodata.table,"a",@progbits
  .balign 16
table:
  .quad ${target}
  .long ${target} - .
  .zero 4
  .quad ${target} - .
  .short big_number
  .byte small_number
  .zero 1
  .long ${target}@SIZE
  .long small_number
  .zero 4
  .long ${target}
  .section .rodata.str1.1,"aMS",@progbits,1
  .string "one"
second_piece:
  .string "two same text"
  .string "text"
  .section .rodata.cst8,"aM",@progbits,8
  .quad ${random(1000)}, 7
third_piece:
  .quad ${random(1000)} << 32
  .section .data.rel.ro.pieces,"aw",@progbits
  .balign 8
pieces:
  .quad second_piece + ${4 + random(6)}
  .quad third_piece
  .section .note.GNU-stack,"",@progbits
`;
  return { name: 'assembly.s', source, flags: [], isArchived: random(2) === 0 };
}
