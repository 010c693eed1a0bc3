/** A WebAssembly PAL for the engine kvm: wasm2c makes C of it, and our runtime gives that C memory, traps and services. */
import { copyFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ObjectFile } from '../elf/symbols.js';
import { PalLinkerError } from '../error.js';
import {
  PAL_FLAGS,
  PAL_PARAMETER,
  PAL_SECTION,
  type PalImage,
  type PalParameter,
  parsePalImage,
  WASM_PAGE,
} from '../image.js';
import { eachInstruction, parseModule } from '../module.js';
import { PAL_SERVICES, type PalServiceName } from '../services.js';
import { compileC } from './c.js';
import { findInPackage, ownDirectory, run } from './tools.js';

/** What {@link translateWasm} translates. */
export interface TranslationInput {
  /** A PAL image for the engine wasm: the linker has fixed its memory and checked its imports. */
  readonly image: Uint8Array;
  readonly project: string;
  readonly temporary: string;
  readonly compiler: string;
  /** The program wasm2c; that of the project's package `wabt` or of the system unless given. */
  readonly wasm2c: string | undefined;
  readonly optimize: string;
  /** Bytes of lent memory that there is room for. */
  readonly lentBytes: number;
  readonly signal?: AbortSignal | undefined;
}

/** Gives the objects of a PAL that does what the image does. Throws {@link PalLinkerError} with code `tool` or `compile`. */
export async function translateWasm(input: TranslationInput): Promise<readonly ObjectFile[]> {
  const { temporary, compiler, optimize, signal } = input;
  const image = parsePalImage(input.image);
  await makeC(input, image);
  const header = await readFile(join(temporary, 'pal.h'), 'utf8');
  const glue = planGlue(header, image);
  await writeFile(join(temporary, 'glue.c'), writeGlue(glue));
  const runtime = join(ownDirectory(), 'native', 'wasm2c');
  for (const file of ['wasm-rt.h', 'wasm-rt.c', 'pal-bridge.h'])
    await copyFile(join(runtime, file), join(temporary, file));
  const { objects } = await compileC({
    ...{ compiler, temporary, optimize, signal, target: 'x86-64', baseDirectory: temporary },
    sources: ['pal.c', 'glue.c', 'wasm-rt.c'].map((name) => join(temporary, name)),
    includes: [temporary],
    systemIncludes: [join(runtime, 'include')],
    defines: [
      `CASEMATE_LENT_PAGES=${glue.takesLent ? Math.ceil(input.lentBytes / WASM_PAGE) : 0}`,
      ...(isOldGeneration(header) ? ['CASEMATE_TYPE_NUMBERS'] : []),
    ],
    options: OPTIONS,
  });
  return objects;
}

/** As WebAssembly has it: addresses wrap, floating point is IEEE 754 with signalling NaNs, and nothing is fused. */
const OPTIONS = [
  ...[
    '-ffreestanding',
    '-fwrapv',
    '-fno-strict-aliasing',
    '-ffp-contract=off',
    '-frounding-math',
    '-fsignaling-nans',
    '-w',
  ],
];

/** Writes pal.c and pal.h. */
async function makeC(input: TranslationInput, { sections }: PalImage): Promise<void> {
  const { project, temporary, wasm2c, signal } = input;
  const code = sections.find(({ type }) => type === PAL_SECTION.CODE)?.content ?? new Uint8Array(0);
  assertNoVectors(code);
  await writeFile(join(temporary, 'pal.wasm'), code);
  const [program = '', ...first] = wasm2c === undefined ? findWasm2c(project) : [wasm2c];
  const args = [...first, 'pal.wasm', '--module-name', 'pal', '--output', 'pal.c'];
  const { status, stdout, stderr } = await run(program, args, { cwd: temporary, signal });
  if (status !== 0) throw new PalLinkerError('tool', `translate PAL: wasm2c: ${(stderr || stdout).trim()}`);
  await splitTraps(join(temporary, 'pal.c'));
}

/** wasm2c before 1.0.33 breaks off at vectors, and later ones want a library of headers for them. */
function assertNoVectors(code: Uint8Array): void {
  const module = parseModule(code);
  for (const body of module.bodies) {
    eachInstruction(module, body, ({ opcode, start }) => {
      if (opcode !== 0xfd) return;
      const problem = 'translate PAL for kvm: expected code without vectors (SIMD), got some';
      throw new PalLinkerError('feature', problem, { section: 'code', offset: body.start + start });
    });
  }
}

/** The package `wabt` of the project before that of the system: a lock file says which it is. */
function findWasm2c(project: string): readonly string[] {
  const directory = findInPackage('wabt', project);
  return directory === undefined ? ['wasm2c'] : [process.execPath, join(directory, 'bin', 'wasm2c')];
}

/** wasm2c has one trap for quotients and conversions that do not fit; WebAssembly's engines tell them apart. */
async function splitTraps(path: string): Promise<void> {
  const text = await readFile(path, 'utf8');
  const split = text.replace(/#define TRUNC_[SU]\((?:.*\\\n)*.*/g, (macro) =>
    macro.replaceAll('TRAP(INT_OVERFLOW)', 'TRAP(INVALID_CONVERSION)'),
  );
  await writeFile(path, split);
}

/** wasm2c before 1.0.33 numbers the types of functions. */
function isOldGeneration(header: string): boolean {
  return !header.includes('wasm_rt_func_type_t');
}

/** What the glue is made of: the names that wasm2c gave (how it makes them has changed several times), and the image's layout. */
interface GluePlan {
  readonly initialise: string | undefined;
  readonly instantiate: string;
  readonly instance: string;
  readonly hasImports: boolean;
  readonly services: readonly { readonly service: PalServiceName; readonly declaration: string }[];
  readonly entry: string;
  readonly returns: boolean;
  readonly memory: string;
  readonly takesLent: boolean;
  /** Where the parameters begin and end in the module's memory. */
  readonly base: bigint;
  readonly end: bigint;
  /** Of an entry with parameters of its own; else empty. */
  readonly parameters: readonly PalParameter[];
}

function planGlue(header: string, image: PalImage): GluePlan {
  const find = (pattern: RegExp) => pattern.exec(header)?.slice(1) ?? [];
  const [instantiate, instance, host] = find(/^void (\w+instantiate)\((\w+)\*(, struct \w+\*)?\);$/m);
  const [result, entry] = find(/^\/\* export: 'pal' \*\/\n(u32|void) (\w+)\(/m);
  const [memory] = find(/^\/\* export: 'memory' \*\/\nwasm_rt_memory_t\* (\w+)\(/m);
  if (instantiate === undefined || instance === undefined || entry === undefined || memory === undefined) {
    throw new PalLinkerError('tool', 'translate PAL: expected the C of wasm2c 1.0.32 to 1.0.39, got another');
  }
  const services = servicesIn(header);
  const section = image.sections.find(({ type }) => type === PAL_SECTION.PARAM);
  const base = section?.address ?? 0n;
  return {
    ...{ instantiate, instance, entry, memory, services, base },
    initialise: find(/^void (\w+_init_module)\(void\);$/m)[0],
    hasImports: host !== undefined,
    returns: result === 'u32',
    takesLent: services.some(({ service }) => service === 'memory_lent'),
    end: base + BigInt(section?.memorySize ?? 0),
    parameters: (image.flags & PAL_FLAGS.marshalled) === 0 ? [] : image.parameters,
  };
}

function servicesIn(header: string): GluePlan['services'] {
  const pattern = /^\/\* import: '(?:\\?\w)+' '((?:\\?\w)+)' \*\/\n(u32 \w+\(struct \w+\*)/gm;
  return [...header.matchAll(pattern)].map(([, name = '', declaration = '']) => {
    const service = SERVICES.find((each) => each === name.replaceAll('\\', ''));
    if (service === undefined)
      throw new PalLinkerError('tool', `translate PAL: expected an import of a service, got ${name}`);
    return { service, declaration };
  });
}

const SERVICES = Object.keys(PAL_SERVICES) as readonly PalServiceName[]; // the keys of a Record of that type

/** The entry and the services, around what wasm2c made. */
function writeGlue(plan: GluePlan): string {
  const { initialise, instantiate, instance, hasImports, services } = plan;
  return `#include "pal.h"
#include "pal-bridge.h"

static ${instance} instance;
static bool is_ready;
${plan.takesLent ? 'static struct lent_window lent;\n' : ''}
${services.map(({ service, declaration }) => serviceFunction(service, declaration, plan)).join('\n')}
static wasm_rt_memory_t *enter(void)
{
	if (!is_ready) {
		is_ready = true;
		${initialise === undefined ? '' : `${initialise}();`}
		${instantiate}(&instance${hasImports ? ', 0' : ''});
	}
	wasm_rt_memory_t *memory = ${plan.memory}(&instance);
	${plan.takesLent ? `lent_enter(&lent, memory, ${plan.end}u, ${numberOf('memory_lent')});` : ''}
	return memory;
}

${plan.parameters.length === 0 ? entryWithBuffers(plan) : entryWithParameters(plan)}`;
}

function entryWithBuffers({ entry, base, takesLent }: GluePlan): string {
  return `void pal(uint32_t command, struct pal_buffer *in, struct pal_buffer *out, uint32_t *rv)
{
	wasm_rt_memory_t *memory = enter();
	bridge_enter(memory, ${base}u, in, out, rv);
	${entry}(&instance, command, bridge_place(${base}u, in, rv), bridge_place(${base}u, out, rv), ${base}u);
	bridge_leave(memory, ${base}u, out, rv);
	${takesLent ? 'lent_leave(&lent, memory);' : ''}
}
`;
}

/** What pointers lead to lies one behind the other, each on a multiple of 16, as the engines lay it out. */
function entryWithParameters({ entry, returns, base, parameters, takesLent }: GluePlan): string {
  let at = base;
  const slots = parameters.map(({ type, size }) => {
    const isPointer = type === PAL_PARAMETER.POINTER;
    const slot = { isPointer, size, at };
    if (isPointer) at += BigInt(Math.ceil(size / 16) * 16);
    return slot;
  });
  const pointers = slots.flatMap((slot, i) => (slot.isPointer ? [{ ...slot, i }] : []));
  const into = pointers.map(({ i, size, at }) => `if (p${i})\n\t\tmemcpy(memory->data + ${at}u, p${i}, ${size});`);
  const back = pointers.map(({ i, size, at }) => `if (p${i})\n\t\tmemcpy(p${i}, memory->data + ${at}u, ${size});`);
  const values = slots.map(({ isPointer, at }, i) => (isPointer ? `p${i} ? ${at}u : 0` : `p${i}`));
  const call = `${entry}(&instance, ${values.join(', ')});`;
  return `uint32_t pal(${slots.map(({ isPointer, size }, i) => `${isPointer ? 'void *' : `uint${8 * size}_t `}p${i}`).join(', ')})
{
	wasm_rt_memory_t *memory = enter();
	uint32_t result = 0;
	(void)memory;
	${into.join('\n\t')}
	${returns ? `result = ${call}` : call}
	${back.join('\n\t')}
	${takesLent ? 'lent_leave(&lent, memory);' : ''}
	return result;
}
`;
}

function serviceFunction(service: PalServiceName, declaration: string, plan: GluePlan): string {
  const parameters = Array.from({ length: PAL_SERVICES[service] }, (_, i) => `u32 p${i}`).join(', ');
  const start = `${declaration} host, ${parameters})\n{\n\t(void)host;`;
  const memory = `${plan.memory}(&instance)`;
  if (service === 'memory_lent') return `${start}\n\treturn lent_service(&lent, ${memory}, p0, p1);\n}\n`;
  const end = `return bridge_call(&b, ${numberOf(service)});\n}\n`;
  return [start, `struct bridge b = {.memory = ${memory}};`, ...stepsOf(service), end].join('\n\t');
}

function numberOf(service: PalServiceName): number {
  return SERVICES.indexOf(service) + 1;
}

function stepsOf(service: PalServiceName): readonly string[] {
  let next = 0;
  return SLOTS[service].split(' ').map((slot) => {
    const [kind = '', size = ''] = slot.split(':');
    const taken = kind === 'data' || kind === 'output' ? [`p${next++}`, `p${next++}`] : [`p${next++}`];
    return stepFor(kind, taken.join(', '), size);
  });
}

function stepFor(kind: string, taken: string, size: string): string {
  switch (kind) {
    case 'value':
      return `bridge_value(&b, ${taken});`;
    case 'bytes':
      return `bridge_bytes(&b, ${taken}, ${size});`;
    case 'perhaps':
      return `bridge_perhaps(&b, ${taken}, ${size});`;
    case 'data': {
      const [, length] = taken.split(', ');
      return `bridge_bytes(&b, ${taken});\n\tbridge_value(&b, ${length});`;
    }
    default:
      return `bridge_output(&b, ${taken});`;
  }
}

/**
 * What the parameters of each service are, so that pointers can be translated: `value`; `data`, a pointer and a length; `bytes:N`, a
 * pointer to so many; `perhaps:N`, the same or 0; `output`, a pointer and a pointer to the capacity.
 */
const SLOTS: Readonly<Record<PalServiceName, string>> = {
  utpm_pcr_read: 'value bytes:32',
  utpm_pcr_extend: 'value bytes:32',
  utpm_seal: 'data data output',
  utpm_unseal: 'data output perhaps:32',
  utpm_quote: 'data value output output',
  utpm_rand: 'data',
  utpm_id_getpub: 'output',
  time_elapsed: 'perhaps:8 bytes:8',
  print: 'data',
  state_read: 'output',
  state_write: 'data',
  memory_lent: 'value bytes:24',
  tv_pcr_read: 'value bytes:20',
  tv_pcr_extend: 'value bytes:20',
  tv_seal: 'data data output',
  tv_unseal: 'data output perhaps:20',
  tv_quote: 'data bytes:20 output output',
  tv_id_getpub: 'output',
  counter_read: 'bytes:8',
  counter_increment: 'bytes:8',
  tpmnvram_getsize: 'bytes:4',
  tpmnvram_readall: 'bytes:32',
  tpmnvram_writeall: 'bytes:32',
  seal_data: 'bytes:80 data data output',
  unseal_data: 'data data output perhaps:80',
};
