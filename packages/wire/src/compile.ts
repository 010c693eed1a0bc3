/**
 * Turns the description of a structure into straight-line JavaScript, for structures that are coded often.
 *
 * The compiled functions know one way only: everything is right. Whatever is not, they give up, and the interpreted codec starts again from
 * the same place and finds the words for it. So there is one source of errors, and nothing here decides what is accepted: a compiled function
 * may give up too often, never too seldom. Where a page or process forbids code from strings, everything stays interpreted.
 */
import type { Codec } from './codec.js';
import type { Reader } from './reader.js';
import { type Shape, type ShapeField, shapeOf } from './shape.js';
import type { Writer } from './writer.js';

/** What {@link CompiledReader} returns where it gives up. */
export const GAVE_UP = Symbol('gave up');

/** Reads a whole value, or leaves the reader where it was and returns {@link GAVE_UP}. */
export type CompiledReader = (reader: Reader) => unknown;

/** Writes a whole value and returns true, or leaves the writer where it was and returns false. */
export type CompiledWriter = (writer: Writer, value: unknown) => boolean;

// biome-ignore lint/suspicious/noExplicitAny: a part may code any type
type Part = Codec<any>;

let isAllowed = true;

/** The compiled reader of `codec`; `undefined` where code from strings is forbidden. */
export function compileReader(codec: Part): CompiledReader | undefined {
  const unit = new Unit(readerOf);
  return build(unit, `${READ_PRELUDE}${unit.sourceOf(codec)}${READ_MAIN}`) as CompiledReader | undefined;
}

/** The compiled writer of `codec`; `undefined` where code from strings is forbidden. */
export function compileWriter(codec: Part): CompiledWriter | undefined {
  const unit = new Unit(writerOf);
  return build(unit, `${WRITE_PRELUDE}${unit.sourceOf(codec)}${WRITE_MAIN}`) as CompiledWriter | undefined;
}

function build(unit: Unit, source: string): unknown {
  if (!isAllowed) return undefined;
  try {
    return new Function('K', 'X', `'use strict';${source}`)(unit.constants, GAVE_UP);
  } catch {
    isAllowed = false;
    return undefined;
  }
}

/** The functions of one compilation, one for each codec: `f0` codes the whole. */
class Unit {
  /** What the source reaches as `K[i]`. */
  readonly constants: unknown[] = [];
  readonly #bodies: string[] = [];
  readonly #known = new Map<Part, string>();
  readonly #emit: (codec: Part, shape: Shape | undefined, unit: Unit) => string;

  constructor(emit: (codec: Part, shape: Shape | undefined, unit: Unit) => string) {
    this.#emit = emit;
  }

  sourceOf(codec: Part): string {
    this.call(codec);
    return this.#bodies.join('');
  }

  /** The name of the function for `codec`. */
  call(codec: Part): string {
    const known = this.#known.get(codec);
    if (known !== undefined) return known;
    const name = `f${this.#known.size}`;
    this.#known.set(codec, name);
    this.#bodies.push(`function ${name}${this.#emit(codec, shapeOf(codec), this)}`);
    return name;
  }

  keep(constant: unknown): string {
    return `K[${this.constants.push(constant) - 1}]`;
  }
}

/*
 * Reading. `r` is the reader, `b` its bytes, `o` the offset and `e` the end of the innermost region. A codec or function from outside may come
 * back here and change them all, so they are set again after it.
 */
const READ_PRELUDE = `let r,b,o,e;
function u1(){if(o>=e)throw X;return b[o++]}
function u2(){const p=o;if(e-p<2)throw X;o=p+2;return b[p]<<8|b[p+1]}
function u4(){const p=o;if(e-p<4)throw X;o=p+4;return(b[p]<<24|b[p+1]<<16|b[p+2]<<8|b[p+3])>>>0}
function u8(){const h=u4();return BigInt(h)<<32n|BigInt(u4())}
function take(n){const p=o;if(e-p<n)throw X;o=p+n;return r.cut(p,o)}
function out(f,v){const R=r,O=o,E=e;const x=f(v);r=R;b=R.bytes;o=O;e=E;return x}
function foreign(c){const R=r,E=e;R.move(o,E);const v=c.read(R);r=R;b=R.bytes;o=R.offset;e=E;return v}
`;
const READ_MAIN = `return R=>{const S=R.offset,E=S+R.remaining;r=R;b=R.bytes;o=S;e=E;
try{const v=f0();R.move(o,E);return v}catch{R.move(S,E);return X}finally{r=b=undefined}}`;

function readerOf(codec: Part, shape: Shape | undefined, unit: Unit): string {
  const call = (part: Part) => `${unit.call(part)}()`;
  switch (shape?.kind) {
    case 'uint':
      return shape.littleEndian && shape.octets > 1 ? foreignReader(codec, unit) : `(){return u${shape.octets}()}\n`;
    case 'empty':
      return '(){}\n';
    case 'bytes':
      return `(){return take(${shape.length})}\n`;
    case 'rest':
      return `(){const n=e-o;if(n>${shape.max})throw X;return take(n)}\n`;
    case 'sizedBytes':
      return `(){const n=${call(shape.length)};if(n<${shape.min}||n>${shape.max})throw X;return take(n)}\n`;
    case 'oneOf':
      return `(){const v=${call(shape.base)};${onlyOf(shape.values)}return v}\n`;
    case 'within':
      return `(){const v=${call(shape.base)};${onlyWithin(shape.ranges)}return v}\n`;
    case 'flags':
      return `(){const v=${call(shape.base)};if(v&${~shape.mask})throw X;return v}\n`;
    case 'constant':
      return `(){if(${call(shape.base)}!==${literal(shape.value)})throw X;return ${literal(shape.value)}}\n`;
    case 'struct':
      return structReader(shape.fields, call);
    case 'array':
      return `(){const n=${call(shape.count)},a=[];if(n>${shape.max})throw X;for(let i=0;i<n;i++)a.push(${call(shape.element)});return a}\n`;
    case 'repeated':
      return `(){const a=[];while(o<e){if(a.length===${shape.max})throw X;a.push(${call(shape.element)})}return a}\n`;
    case 'sized':
      return sizedReader(shape, call);
    case 'mapped':
      return `(){return out(${unit.keep(shape.to)},${call(shape.inner)})}\n`;
    case 'checked':
      return `(){const v=${call(shape.inner)};if(out(${unit.keep(shape.problem)},v)!==undefined)throw X;return v}\n`;
    default:
      return foreignReader(codec, unit);
  }
}

function foreignReader(codec: Part, unit: Unit): string {
  return `(){return foreign(${unit.keep(codec)})}\n`;
}

function structReader(fields: readonly ShapeField[], call: (part: Part) => string): string {
  const names = new Map(fields.map(([key], i) => [key, `v${i}`]));
  const lines = fields.map(([, part], i) =>
    'selector' in part
      ? `let v${i};switch(${names.get(part.selector)}){${casesOf(part.cases, (one) => `v${i}=${call(one)}`)}}`
      : `const v${i}=${call(part)};`,
  );
  const members = fields.map(([key], i) => `${JSON.stringify(key)}:v${i}`);
  // `__proto__` in a literal is no member, so such a structure stays with the interpreter.
  if (names.has('__proto__')) return '(){throw X}\n';
  return `(){${lines.join('')}return{${members.join()}}}\n`;
}

function sizedReader(shape: Shape & { kind: 'sized' }, call: (part: Part) => string): string {
  const none = shape.optional ? 'if(n===0)return undefined;' : '';
  const bounds = Number.isFinite(shape.max) ? `if(n>${shape.max})throw X;` : '';
  return `(){const n=${call(shape.length)},E=e;${none}${bounds}if(E-o<n)throw X;e=o+n;const v=${call(shape.inner)};if(o!==e)throw X;e=E;return v}\n`;
}

/* Writing. `w` is the writer, `b` its buffer, `o` the offset and `e` the end of the buffer. */
const WRITE_PRELUDE = `let w,b,o,e;
function u1(v){if((v&255)!==v||o>=e)throw X;b[o++]=v}
function u2(v){const p=o;if((v&65535)!==v||e-p<2)throw X;b[p]=v>>>8;b[p+1]=v;o=p+2}
function u4(v){const p=o;if(v>>>0!==v||e-p<4)throw X;b[p]=v>>>24;b[p+1]=v>>>16;b[p+2]=v>>>8;b[p+3]=v;o=p+4}
function u8(v){if(typeof v!=='bigint'||BigInt.asUintN(64,v)!==v)throw X;u4(Number(v>>32n));u4(Number(v&0xffffffffn))}
function put(v,n){const p=o;if(e-p<n)throw X;if(n>0)b.set(v,p);o=p+n}
function out(f,v){const W=w,O=o;W.move(O);const x=f(v);w=W;b=W.lend();o=O;e=b.length;return x}
function foreign(c,v){const W=w;W.move(o);c.write(W,v);w=W;b=W.lend();o=W.position;e=b.length}
`;
const WRITE_MAIN = `return(W,v)=>{const S=W.position;w=W;b=W.lend();o=S;e=b.length;
try{f0(v);W.move(o);return true}catch{W.move(S);return false}finally{w=b=undefined}}`;

function writerOf(codec: Part, shape: Shape | undefined, unit: Unit): string {
  const call = (part: Part, value = 'v') => `${unit.call(part)}(${value});`;
  switch (shape?.kind) {
    case 'uint':
      return shape.littleEndian && shape.octets > 1 ? foreignWriter(codec, unit) : `(v){u${shape.octets}(v)}\n`;
    case 'empty':
      return '(v){}\n';
    case 'bytes':
      return `(v){${onlyBytes}if(v.length!==${shape.length})throw X;put(v,${shape.length})}\n`;
    case 'rest':
      return `(v){${onlyBytes}if(v.length>${shape.max})throw X;put(v,v.length)}\n`;
    case 'sizedBytes':
      return `(v){${onlyBytes}const n=v.length;if(n<${shape.min}||n>${shape.max})throw X;${call(shape.length, 'n')}put(v,n)}\n`;
    case 'oneOf':
      return `(v){${onlyOf(shape.values)}${call(shape.base)}}\n`;
    case 'within':
      return `(v){${onlyWithin(shape.ranges)}${call(shape.base)}}\n`;
    case 'flags':
      return `(v){if(v&${~shape.mask})throw X;if(v<0){if((v|0)!==v)throw X;v=v>>>0}${call(shape.base)}}\n`;
    case 'constant':
      return `(v){if(v!==${literal(shape.value)})throw X;${call(shape.base)}}\n`;
    case 'struct':
      return structWriter(shape.fields, call);
    case 'array':
      return `(v){if(!Array.isArray(v)||v.length>${shape.max})throw X;const n=v.length;${call(shape.count, 'n')}for(let i=0;i<n;i++)${call(shape.element, 'v[i]')}}\n`;
    case 'repeated':
      return `(v){if(!Array.isArray(v)||v.length>${shape.max})throw X;const n=v.length;for(let i=0;i<n;i++)${call(shape.element, 'v[i]')}}\n`;
    case 'sized':
      return sizedWriter(shape, call);
    case 'mapped':
      return `(v){${call(shape.inner, `out(${unit.keep(shape.from)},v)`)}}\n`;
    case 'checked':
      return `(v){if(out(${unit.keep(shape.problem)},v)!==undefined)throw X;${call(shape.inner)}}\n`;
    default:
      return foreignWriter(codec, unit);
  }
}

function foreignWriter(codec: Part, unit: Unit): string {
  return `(v){foreign(${unit.keep(codec)},v)}\n`;
}

function structWriter(fields: readonly ShapeField[], call: (part: Part, value: string) => string): string {
  const of = (key: string) => `v[${JSON.stringify(key)}]`;
  const lines = fields.map(([key, part]) =>
    'selector' in part
      ? `switch(${of(part.selector)}){${casesOf(part.cases, (one) => call(one, of(key)))}}`
      : call(part, of(key)),
  );
  return `(v){if(typeof v!=='object'||v===null)throw X;${lines.join('')}}\n`;
}

function sizedWriter(shape: Shape & { kind: 'sized' }, call: (part: Part, value?: string) => string): string {
  const none = shape.optional ? `if(v===undefined){${call(shape.length, '0')}return}` : '';
  const bounds = Number.isFinite(shape.max) ? `if(n>${shape.max})throw X;` : '';
  return `(v){${none}const p=o;${call(shape.length, '0')}const s=o;${call(shape.inner)}const q=o,n=q-s;${bounds}o=p;${call(shape.length, 'n')}o=q}\n`;
}

const onlyBytes = 'if(!(v instanceof Uint8Array))throw X;';

function onlyOf(values: readonly number[]): string {
  return `switch(v){${values.map((value) => `case ${literal(value)}:`).join('')}break;default:throw X}`;
}

function onlyWithin(ranges: readonly (readonly [number, number])[]): string {
  const tests = ranges.map(([first, last]) =>
    first === last ? `v===${literal(first)}` : `v>=${literal(first)}&&v<=${literal(last)}`,
  );
  return `if(!(${tests.join('||')}))throw X;`;
}

function casesOf(cases: Readonly<Record<number, Part>>, statement: (part: Part) => string): string {
  // The keys of `cases` are numbers; as a property key each is their decimal text.
  const lines = Object.entries(cases).map(([key, part]) => `case ${literal(Number(key))}:${statement(part)};break;`);
  return `${lines.join('')}default:throw X`;
}

function literal(value: number | bigint): string {
  return typeof value === 'bigint' ? `${value}n` : `${Number(value)}`;
}
