/**
 * Turns the description of a structure into straight-line JavaScript, for structures that are coded often.
 *
 * The compiled functions know one way only: everything is right. Whatever is not, they give up, and the interpreted codec starts again from
 * the same place and finds the words for it. So there is one source of errors, and nothing here decides what is accepted: a compiled function
 * may give up too often, never too seldom. Where a page or process forbids code from strings, everything stays interpreted.
 */
import type { Codec } from './codec.js';
import { NOTHING, type Reader } from './reader.js';
import { type Shape, type ShapeFields, shapeOf } from './shape.js';
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
  const unit = new Unit(readerBody);
  unit.nameOf(codec);
  return build(unit, `${READ_PRELUDE}${unit.source}${READ_MAIN}`) as CompiledReader | undefined;
}

/** The compiled writer of `codec`; `undefined` where code from strings is forbidden. */
export function compileWriter(codec: Part): CompiledWriter | undefined {
  const unit = new Unit(writerBody);
  unit.nameOf(codec);
  return build(unit, `${WRITE_PRELUDE}${unit.source}${WRITE_MAIN}`) as CompiledWriter | undefined;
}

function build(unit: Unit, source: string): unknown {
  if (!isAllowed) return undefined;
  try {
    return new Function('K', 'X', 'N', `'use strict';${source}`)(unit.constants, GAVE_UP, NOTHING);
  } catch {
    isAllowed = false;
    return undefined;
  }
}

/** The functions of one compilation: `f0` codes the whole, and every codec inside that is no leaf has one of its own. */
class Unit {
  /** What the source reaches as `K[i]`. */
  readonly constants: unknown[] = [];
  source = '';
  #variables = 0;
  readonly #names = new Map<Part, string>();
  readonly #body: (codec: Part, unit: Unit) => string;

  constructor(body: (codec: Part, unit: Unit) => string) {
    this.#body = body;
  }

  /** The name of the function for `codec`. */
  nameOf(codec: Part): string {
    const known = this.#names.get(codec);
    if (known !== undefined) return known;
    const name = `f${this.#names.size}`;
    this.#names.set(codec, name);
    const body = this.#body(codec, this); // which adds the functions that it calls
    this.source += `function ${name}${body}\n`;
    return name;
  }

  /** A name that no other variable has. */
  variable(): string {
    return `v${this.#variables++}`;
  }

  keep(constant: unknown): string {
    return `K[${this.constants.push(constant) - 1}]`;
  }
}

/*
 * Reading. `r` is the reader, `B` its bytes, `O` the offset and `e` the end of the innermost region. Integers are read without a look at the
 * end: beyond it they are garbage, and whoever closes the region finds the offset behind `e` and gives up. A codec or function from outside may
 * come back here and change these variables, so they are set again after it. Each function holds bytes and offset as `b` and `o`, which engines
 * keep in registers, and writes the offset back before others need it.
 */
const READ_PRELUDE = `let r,B,O,e,m,k;
function u8(p){const b=B;
return BigInt((b[p]<<24|b[p+1]<<16|b[p+2]<<8|b[p+3])>>>0)<<32n|BigInt((b[p+4]<<24|b[p+5]<<16|b[p+6]<<8|b[p+7])>>>0)}
function take(p,n){if(e-p<n)throw X;return n===0?N:m===undefined?B.slice(p,p+n):new Uint8Array(m,k+p,n)}
function out(f,v){const R=r,P=O,E=e;const x=f(v);enter(R,P,E);return x}
function foreign(c){const R=r,E=e;if(O>E)throw X;R.move(O,E);const v=c.read(R);enter(R,R.offset,E);return v}
function enter(R,P,E){r=R;B=R.bytes;m=R.memory;k=B.byteOffset;O=P;e=E}
`;
const READ_MAIN = `return R=>{const S=R.offset,E=S+R.remaining;enter(R,S,E);
try{const v=f0();if(O>E)throw X;R.move(O,E);return v}catch{R.move(S,E);return X}finally{r=B=m=undefined}}`;

const READ_UINT = {
  1: 'b[o++]|0',
  2: '(o+=2,b[o-2]<<8|b[o-1])',
  4: '(o+=4,(b[o-4]<<24|b[o-3]<<16|b[o-2]<<8|b[o-1])>>>0)',
  8: '(o+=8,u8(o-8))',
} as const;

function readerBody(codec: Part, unit: Unit): string {
  const shape = shapeOf(codec);
  if (shape?.kind === 'struct') return structReader(shape.fields, unit);
  return `(){${READ_ENTRY}${readTo('v', codec, unit, true)}O=o;return v}`;
}

/** Statements that read `codec` into the new variable `v`; in `own`, the body of the codec's own function. */
function readTo(v: string, codec: Part, unit: Unit, own = false): string {
  const shape = shapeOf(codec);
  switch (shape?.kind) {
    case 'uint':
      return shape.littleEndian && shape.octets > 1
        ? foreignRead(v, codec, unit)
        : `const ${v}=${READ_UINT[shape.octets]};`;
    case 'empty':
      return `const ${v}=undefined;`;
    case 'bytes':
      return takeTo(v, `${shape.length}`);
    case 'rest':
      return `if(o>e||e-o>${shape.max})throw X;${takeTo(v, 'e-o')}`;
    case 'sizedBytes':
      return withNumber(shape.length, unit, (n) => `if(${n}<${shape.min}||${n}>${shape.max})throw X;${takeTo(v, n)}`);
    case 'oneOf':
      return `${readTo(v, shape.base, unit)}${onlyOf(v, shape.values)}`;
    case 'within':
      return `${readTo(v, shape.base, unit)}${onlyWithin(v, shape.ranges)}`;
    case 'flags':
      return `${readTo(v, shape.base, unit)}if(${v}&${~shape.mask})throw X;`;
    case 'constant':
      return `${readTo(v, shape.base, unit)}if(${v}!==${literal(shape.value)})throw X;`;
    case 'mapped':
      return withNumber(shape.inner, unit, (inner) => `const ${v}=out(${unit.keep(shape.to)},${inner});`);
    case 'checked':
      return `${readTo(v, shape.inner, unit)}if(out(${unit.keep(shape.problem)},${v})!==undefined)throw X;`;
    case 'array':
    case 'repeated':
    case 'sized':
      return own ? readComposite(v, shape, unit) : readCall(v, `${unit.nameOf(codec)}()`);
    case 'struct':
      return readCall(v, `${unit.nameOf(codec)}()`);
    default:
      return foreignRead(v, codec, unit);
  }
}

function readComposite(v: string, shape: Composite, unit: Unit): string {
  switch (shape.kind) {
    case 'array':
      return withNumber(
        shape.count,
        unit,
        (n) =>
          `if(${n}>${shape.max})throw X;const ${v}=[];for(let i=0;i<${n};i++){${readItem(v, shape.element, unit)}}`,
      );
    case 'repeated':
      return `const ${v}=[];while(o<e){if(${v}.length===${shape.max})throw X;${readItem(v, shape.element, unit)}}`;
    case 'sized':
      return withNumber(shape.length, unit, (n) => readSized(v, n, shape, unit));
  }
}

function readItem(list: string, element: Part, unit: Unit): string {
  const item = unit.variable();
  return `${readTo(item, element, unit)}${list}.push(${item});`;
}

function readSized(v: string, n: string, shape: Extract<Shape, { kind: 'sized' }>, unit: Unit): string {
  const none = shape.optional ? `if(${n}===0){O=o;return undefined}` : '';
  const inner = unit.variable();
  return `${none}${atMost(n, shape.max)}if(e-o<${n})throw X;const E=e;e=o+${n};${readTo(inner, shape.inner, unit)}if(o!==e)throw X;e=E;const ${v}=${inner};`;
}

function withNumber(part: Part, unit: Unit, use: (variable: string) => string): string {
  const variable = unit.variable();
  return `${readTo(variable, part, unit)}${use(variable)}`;
}

function foreignRead(v: string, codec: Part, unit: Unit): string {
  return readCall(v, `foreign(${unit.keep(codec)})`);
}

/** Calls what goes on at the offset and moves it. */
function readCall(v: string, call: string): string {
  return `O=o;const ${v}=${call};o=O;`;
}

function takeTo(v: string, length: string): string {
  return `const ${v}=take(o,${length});o+=${v}.length;`;
}

const READ_ENTRY = 'const b=B;let o=O;';

function structReader(shape: ShapeFields, unit: Unit): string {
  const fields = Object.entries(shape);
  const names = new Map(fields.map(([key]) => [key, unit.variable()]));
  // `__proto__` in a literal is no member, so such a structure stays with the interpreter.
  if (names.has('__proto__')) return '(){throw X}';
  const lines = fields.map(([key, part]) => {
    const v = String(names.get(key));
    if (!('selector' in part)) return readTo(v, part, unit);
    return `let ${v};switch(${names.get(part.selector)}){${casesOf(part.cases, (one) => readCase(v, one, unit))}}`;
  });
  const members = fields.map(([key]) => `${JSON.stringify(key)}:${names.get(key)}`);
  return `(){${READ_ENTRY}${lines.join('')}O=o;return{${members.join()}}}`;
}

function readCase(v: string, part: Part, unit: Unit): string {
  const one = unit.variable();
  return `${readTo(one, part, unit)}${v}=${one};`;
}

/*
 * Writing. `w` is the writer, `B` its buffer, `O` the offset and `e` the end of the buffer; `b` and `o` are as in reading. Octets written behind
 * the end fall off without a trace, which is found out before anything else can see the buffer.
 */
const WRITE_PRELUDE = `let w,B,O,e;
function u4(p,v){const b=B;b[p]=v>>>24;b[p+1]=v>>>16;b[p+2]=v>>>8;b[p+3]=v}
function u8(p,v){if(typeof v!=='bigint'||BigInt.asUintN(64,v)!==v)throw X;u4(p,Number(v>>32n));u4(p+4,Number(v&0xffffffffn))}
function out(f,v,o){const W=w;if(o>e)throw X;W.move(o);const x=f(v);w=W;B=W.lend();O=o;e=B.length;return x}
function foreign(c,v){const W=w;if(O>e)throw X;W.move(O);c.write(W,v);w=W;B=W.lend();O=W.position;e=B.length}
`;
const WRITE_MAIN = `return(W,v)=>{const S=W.position;w=W;B=W.lend();O=S;e=B.length;
try{f0(v);if(O>e)throw X;W.move(O);return true}catch{W.move(S);return false}finally{w=B=undefined}}`;

const WRITE_UINT = {
  1: (v: string) => `if((${v}&255)!==${v})throw X;b[o++]=${v};`,
  2: (v: string) => `if((${v}&65535)!==${v})throw X;b[o]=${v}>>>8;b[o+1]=${v};o+=2;`,
  4: (v: string) => `if(${v}>>>0!==${v})throw X;b[o]=${v}>>>24;b[o+1]=${v}>>>16;b[o+2]=${v}>>>8;b[o+3]=${v};o+=4;`,
  8: (v: string) => `u8(o,${v});o+=8;`,
} as const;

function writerBody(codec: Part, unit: Unit): string {
  const shape = shapeOf(codec);
  if (shape?.kind === 'struct') return structWriter(shape.fields, unit);
  return `(v){${WRITE_ENTRY}${writeFrom('v', codec, unit, true)}O=o}`;
}

/** Statements that write the variable `v` as `codec`; in `own`, the body of the codec's own function. */
function writeFrom(v: string, codec: Part, unit: Unit, own = false): string {
  const shape = shapeOf(codec);
  switch (shape?.kind) {
    case 'uint':
      return shape.littleEndian && shape.octets > 1 ? foreignWrite(v, codec, unit) : WRITE_UINT[shape.octets](v);
    case 'empty':
      return '';
    case 'bytes':
      return `${onlyBytes(v)}if(${v}.length!==${shape.length})throw X;${put(v, `${shape.length}`)}`;
    case 'rest':
      return `${onlyBytes(v)}if(${v}.length>${shape.max})throw X;${put(v, `${v}.length`)}`;
    case 'sizedBytes':
      return writeSizedBytes(v, shape, unit);
    case 'oneOf':
      return `${onlyOf(v, shape.values)}${writeFrom(v, shape.base, unit)}`;
    case 'within':
      return `${onlyWithin(v, shape.ranges)}${writeFrom(v, shape.base, unit)}`;
    case 'flags':
      return writeFlags(v, shape, unit);
    case 'constant':
      return `if(${v}!==${literal(shape.value)})throw X;${writeFrom(v, shape.base, unit)}`;
    case 'mapped':
      return writeExpression(`out(${unit.keep(shape.from)},${v},o)`, shape.inner, unit);
    case 'checked':
      return `if(out(${unit.keep(shape.problem)},${v},o)!==undefined)throw X;${writeFrom(v, shape.inner, unit)}`;
    case 'array':
    case 'repeated':
    case 'sized':
      return own ? writeComposite(v, shape, unit) : writeCall(`${unit.nameOf(codec)}(${v})`);
    case 'struct':
      return writeCall(`${unit.nameOf(codec)}(${v})`);
    default:
      return foreignWrite(v, codec, unit);
  }
}

function writeComposite(v: string, shape: Composite, unit: Unit): string {
  switch (shape.kind) {
    case 'array':
      return `${onlyList(v, shape.max)}${writeExpression(`${v}.length`, shape.count, unit)}${writeItems(v, shape.element, unit)}`;
    case 'repeated':
      return `${onlyList(v, shape.max)}${writeItems(v, shape.element, unit)}`;
    case 'sized':
      return writeSized(v, shape, unit);
  }
}

function writeItems(list: string, element: Part, unit: Unit): string {
  return `for(let i=0;i<${list}.length;i++){${writeExpression(`${list}[i]`, element, unit)}}`;
}

function writeSized(v: string, shape: Extract<Shape, { kind: 'sized' }>, unit: Unit): string {
  const none = shape.optional ? `if(${v}===undefined){${writeExpression('0', shape.length, unit)}O=o;return}` : '';
  const before = writeExpression('0', shape.length, unit);
  const after = writeFrom('n', shape.length, unit);
  return `${none}const p=o;${before}const s=o;${writeFrom(v, shape.inner, unit)}const q=o,n=q-s;${atMost('n', shape.max)}o=p;${after}o=q;`;
}

function writeSizedBytes(v: string, shape: Extract<Shape, { kind: 'sizedBytes' }>, unit: Unit): string {
  const n = unit.variable();
  const bounds = `const ${n}=${v}.length;if(${n}<${shape.min}||${n}>${shape.max})throw X;`;
  return `${onlyBytes(v)}${bounds}${writeFrom(n, shape.length, unit)}if(${n}>0){${put(v, n)}}`;
}

function writeFlags(v: string, shape: Extract<Shape, { kind: 'flags' }>, unit: Unit): string {
  // Bit 31 makes the result of the bit operators negative: the value may come from them.
  const negative = `if(${v}<0&&(${v}|0)!==${v}||${v}&${~shape.mask})throw X;`;
  return `${negative}${writeExpression(`${v}<0?${v}>>>0:${v}`, shape.base, unit)}`;
}

function writeExpression(expression: string, codec: Part, unit: Unit): string {
  const v = unit.variable();
  return `const ${v}=${expression};${writeFrom(v, codec, unit)}`;
}

function foreignWrite(v: string, codec: Part, unit: Unit): string {
  return writeCall(`foreign(${unit.keep(codec)},${v})`);
}

/** Calls what writes at the offset, moves it, and may put a larger buffer in the place of this one. */
function writeCall(call: string): string {
  return `O=o;${call};o=O;b=B;`;
}

function put(v: string, length: string): string {
  return `if(e-o<${length})throw X;b.set(${v},o);o+=${length};`;
}

const WRITE_ENTRY = 'let b=B,o=O;';

function structWriter(shape: ShapeFields, unit: Unit): string {
  const member = (key: string) => `v[${JSON.stringify(key)}]`;
  const lines = Object.entries(shape).map(([key, part]) => {
    if (!('selector' in part)) return writeExpression(member(key), part, unit);
    return `switch(${member(part.selector)}){${casesOf(part.cases, (one) => writeExpression(member(key), one, unit))}}`;
  });
  return `(v){if(typeof v!=='object'||v===null)throw X;${WRITE_ENTRY}${lines.join('')}O=o}`;
}

type Composite = Extract<Shape, { kind: 'array' | 'repeated' | 'sized' }>;

function onlyBytes(v: string): string {
  return `if(!(${v} instanceof Uint8Array))throw X;`;
}

function onlyList(v: string, max: number): string {
  return `if(!Array.isArray(${v})||${v}.length>${max})throw X;`;
}

function onlyOf(v: string, values: readonly number[]): string {
  return `switch(${v}){${values.map((value) => `case ${literal(value)}:`).join('')}break;default:throw X}`;
}

function onlyWithin(v: string, ranges: readonly (readonly [number, number])[]): string {
  const tests = ranges.map(([first, last]) =>
    first === last ? `${v}===${literal(first)}` : `${v}>=${literal(first)}&&${v}<=${literal(last)}`,
  );
  return `if(!(${tests.join('||')}))throw X;`;
}

function atMost(n: string, max: number): string {
  return Number.isFinite(max) ? `if(${n}>${max})throw X;` : '';
}

function casesOf(cases: Readonly<Record<number, Part>>, statements: (part: Part) => string): string {
  // The keys of `cases` are numbers; as a property key each is their decimal text.
  const lines = Object.entries(cases).map(([key, part]) => `case ${literal(Number(key))}:{${statements(part)}break}`);
  return `${lines.join('')}default:throw X`;
}

function literal(value: number | bigint): string {
  return typeof value === 'bigint' ? `${value}n` : `${Number(value)}`;
}
