/** Explained recordings as text for people, and as JSON for programs. */
import type {
  ExplainedCommand,
  ExplainedExchange,
  ExplainedResponse,
  ExplainedSession,
  NamedValue,
} from './explain.js';
import { hexBytes, hexNumber, type Spelled, type SpelledJson, spelledJson } from './spelled.js';

/** How text is made. */
export interface TextOptions {
  /** Puts ANSI colours into it. */
  readonly colour?: boolean;
  /** Shows byte strings in full; otherwise those longer than 64 bytes are cut. */
  readonly full?: boolean;
}

/** An exchange as a few lines of text, without the last line break. */
export function exchangeText(exchange: ExplainedExchange, options: TextOptions = {}): string {
  const { command, response, error, control } = exchange;
  const paint = painter(options.colour ?? false);
  const lines = [headline(exchange, paint)];
  if (command) lines.push(...commandLines(command, options, paint));
  if (response) lines.push(...responseLines(response, options, paint));
  if (error) lines.push(`  ${paint.bad('✗')} ${error.message}`);
  if (!command && !control && !response && !error) lines.push('  nothing');
  return lines.join('\n');
}

/** An exchange as JSON; the shape is part of this package's contract. */
export function exchangeJson(exchange: ExplainedExchange): SpelledJson {
  const { number, connection, time, duration, command, response, error, control } = exchange;
  return {
    number,
    connection,
    time: time === undefined ? null : isoTime(time),
    microseconds: duration ?? null,
    command: command ? commandJson(command) : null,
    response: response ? responseJson(response) : null,
    error: error ? { code: error.code, message: error.message } : null,
    control: control ? { action: control.action, argument: control.argument ?? null } : null,
  };
}

/** A list or structure as lines of text. */
export function spelledText(value: Spelled, options: TextOptions = {}): string {
  const paint = painter(options.colour ?? false);
  const lines = isNested(value) ? nestedLines(value, -1, options, paint) : [inlineText(value, options, paint)];
  return lines.join('\n');
}

type Style = (text: string) => string;
interface Paint {
  readonly name: Style;
  readonly good: Style;
  readonly bad: Style;
  readonly warn: Style;
  readonly faint: Style;
}

function painter(colour: boolean): Paint {
  const style = (code: number): Style => (colour ? (text) => `\u001b[${code}m${text}\u001b[0m` : (text) => text);
  return { name: style(1), good: style(32), bad: style(31), warn: style(33), faint: style(2) };
}

function headline(
  { number, time, duration, connection, command, response, error, control }: ExplainedExchange,
  paint: Paint,
): string {
  const subject =
    command?.name ??
    (control ? `(${control.action}${control.argument === undefined ? '' : ` ${control.argument}`})` : '(no command)');
  const outcome = response
    ? outcomeOf(response, paint)
    : error
      ? paint.bad(error.code)
      : command
        ? paint.warn('no response')
        : '';
  const when = time === undefined ? '' : paint.faint(isoTime(time).slice(11, 23));
  const lasted = duration === undefined ? '' : paint.faint(`${(duration / 1000).toFixed(1)} ms`);
  const where = connection === 0 ? '' : paint.faint(`connection ${connection + 1}`);
  const parts = [`#${number}`, when, paint.name(subject), outcome && `→ ${outcome}`, lasted, where];
  return parts.filter((part) => part !== '').join('  ');
}

function outcomeOf({ code }: ExplainedResponse, paint: Paint): string {
  if (code.severity === 'success') return paint.good(code.name);
  return (code.severity === 'warning' ? paint.warn : paint.bad)(`${code.name} (${hexNumber(code.code, 3)})`);
}

function commandLines(command: ExplainedCommand, options: TextOptions, paint: Paint): string[] {
  const { locality, handles, sessions, parameters, problem, size } = command;
  const place: readonly NamedValue[] =
    locality === undefined ? [] : [['locality', { kind: 'number', value: locality }]];
  const lines = fieldLines([...place, ...handles, ...sessions.map(sessionField), ...parameters], 1, options, paint);
  return problem === undefined ? lines : [...lines, `  ${paint.warn('!')} ${problem} (${size} bytes)`];
}

function responseLines(response: ExplainedResponse, options: TextOptions, paint: Paint): string[] {
  const { code, blames, handles, sessions, parameters, problem, size } = response;
  const lines: string[] = [];
  if (code.severity !== 'success') {
    lines.push(`  ${paint.bad('✗')} ${blames === undefined ? '' : `${blames}: `}${code.explanation}`);
  }
  const fields = fieldLines([...handles, ...parameters, ...sessions.map(sessionField)], 1, options, paint);
  if (fields.length > 0) lines.push(`  ${paint.good('→')}`, ...fields);
  return problem === undefined ? lines : [...lines, `  ${paint.warn('!')} ${problem} (${size} bytes)`];
}

function sessionField(session: ExplainedSession, index: number): NamedValue {
  const { handle, attributes, nonce, hmac } = session;
  const isPassword = handle?.kind === 'handle' && handle.name === 'TPM_RS_PW';
  const fields: NamedValue[] = [];
  if (handle) fields.push(['sessionHandle', handle]);
  fields.push(['sessionAttributes', { kind: 'flags', names: attributes, value: 0 }]);
  if (!isEmpty(nonce)) fields.push(['nonce', nonce]);
  if (isPassword || !isEmpty(hmac)) fields.push([isPassword ? 'password' : 'hmac', hmac]);
  return [`session ${index + 1}`, { kind: 'struct', fields }];
}

function isEmpty(value: Spelled): boolean {
  return value.kind === 'bytes' && value.bytes.length === 0;
}

/** Fields in two columns; what needs lines of its own follows, indented. */
function fieldLines(fields: readonly NamedValue[], depth: number, options: TextOptions, paint: Paint): string[] {
  const indent = '  '.repeat(depth + 1);
  const width = Math.max(0, ...fields.filter(([, value]) => !isNested(value)).map(([name]) => name.length));
  return fields.flatMap(([name, value]) => {
    const own = `${indent}${paint.faint(isNested(value) ? name : name.padEnd(width))}`;
    const inline = inlineText(value, options, paint);
    const first = inline === '' ? own.trimEnd() : `${own}  ${inline}`;
    return [first, ...nestedLines(value, depth + 1, options, paint)];
  });
}

function isNested(value: Spelled): boolean {
  return value.kind === 'struct' || value.kind === 'encoded' || (value.kind === 'list' && !isShort(value.items));
}

/** Lists of plain values stand on one line. */
function isShort(items: readonly Spelled[]): boolean {
  return items.every(({ kind }) => kind === 'constant' || kind === 'pcrs' || kind === 'number');
}

function nestedLines(value: Spelled, depth: number, options: TextOptions, paint: Paint): string[] {
  switch (value.kind) {
    case 'struct':
      return fieldLines(value.fields, depth, options, paint);
    case 'encoded':
      return nestedLines(value.value, depth, options, paint);
    case 'list':
      if (isShort(value.items)) return [];
      return value.items.flatMap((item, i) => itemLines(item, i, depth, options, paint));
    default:
      return [];
  }
}

function itemLines(item: Spelled, index: number, depth: number, options: TextOptions, paint: Paint): string[] {
  const onOneLine = item.kind === 'struct' ? compactStruct(item.fields, options, paint) : undefined;
  if (onOneLine !== undefined) return [`${'  '.repeat(depth + 1)}${onOneLine}`];
  if (!isNested(item)) return [`${'  '.repeat(depth + 1)}${inlineText(item, options, paint)}`];
  return fieldLines([[`[${index}]`, item]], depth, options, paint);
}

/** Structures of two plain fields, such as properties and digests, as `name  value`. */
function compactStruct(fields: readonly NamedValue[], options: TextOptions, paint: Paint): string | undefined {
  if (fields.length !== 2 || fields.some(([, value]) => isNested(value))) return undefined;
  const [first, second] = fields.map(([, value]) => inlineText(value, options, paint));
  return `${first?.padEnd(30)}  ${second}`;
}

function inlineText(value: Spelled, options: TextOptions, paint: Paint): string {
  switch (value.kind) {
    case 'struct':
      return '';
    case 'encoded':
      return paint.faint(`${value.type}, ${count(value.bytes.length)}`);
    case 'list':
      if (value.items.length === 0) return paint.faint('none');
      return isShort(value.items) ? value.items.map((item) => inlineText(item, options, paint)).join(', ') : '';
    case 'number':
      return value.meaning === undefined ? numberText(value.value) : `${numberText(value.value)} "${value.meaning}"`;
    case 'constant':
      return value.name;
    case 'flags':
      return value.names.length === 0 ? paint.faint('none') : value.names.join(' | ');
    case 'handle':
      return value.name.startsWith('TPM_R')
        ? value.name
        : `${hexNumber(value.value, 8)} ${paint.faint(`(${value.name})`)}`;
    case 'pcrs':
      return `${value.hash.replace('TPM_ALG_', '').toLowerCase()}:${value.indexes.length === 0 ? 'none' : runs(value.indexes)}`;
    case 'boolean':
      return value.value ? 'yes' : 'no';
    case 'bytes':
      return bytesText(value.bytes, options, paint);
    case 'encrypted':
      return `${paint.warn('encrypted')} ${bytesText(value.bytes, options, paint)}`;
    case 'redacted':
      return paint.warn(value.length === undefined ? '[redacted]' : `[redacted, ${count(value.length)}]`);
    case 'absent':
      return paint.faint('none');
  }
}

/** Indexes with runs of three and more as `first-last`. */
function runs(indexes: readonly number[]): string {
  const parts: { first: number; last: number }[] = [];
  for (const index of indexes) {
    const part = parts.at(-1);
    if (part && part.last === index - 1) part.last = index;
    else parts.push({ first: index, last: index });
  }
  return parts
    .map(({ first, last }) =>
      last - first < 2 ? indexes.filter((i) => i >= first && i <= last).join() : `${first}-${last}`,
    )
    .join();
}

function numberText(value: number | bigint): string {
  return typeof value === 'number' && value > 0xffff ? `${value} (${hexNumber(value)})` : `${value}`;
}

function bytesText(bytes: Uint8Array, options: TextOptions, paint: Paint): string {
  if (bytes.length === 0) return paint.faint('empty');
  if (options.full || bytes.length <= MAX_SHOWN) return hexBytes(bytes);
  return `${hexBytes(bytes.subarray(0, MAX_SHOWN / 2))}… ${paint.faint(`(${count(bytes.length)})`)}`;
}

function count(length: number): string {
  return length === 1 ? '1 byte' : `${length} bytes`;
}

function commandJson(command: ExplainedCommand): SpelledJson {
  const { name, code, size, locality, problem } = command;
  const head = { name, code: hexNumber(code, 8), size, locality: locality ?? null };
  return { ...head, ...bodyJson(command), problem: problem ?? null };
}

function responseJson(response: ExplainedResponse): SpelledJson {
  const { code, blames, size, problem } = response;
  const head = { name: code.name, code: hexNumber(code.code, 8), size, explanation: code.explanation };
  return { ...head, blames: blames ?? null, ...bodyJson(response), problem: problem ?? null };
}

function bodyJson({ handles, sessions, parameters }: ExplainedCommand | ExplainedResponse) {
  return {
    handles: fieldsJson(handles),
    sessions: sessions.map(({ handle, attributes, nonce, hmac }) => ({
      handle: handle ? spelledJson(handle) : null,
      attributes,
      nonce: spelledJson(nonce),
      hmac: spelledJson(hmac),
    })),
    parameters: fieldsJson(parameters),
  };
}

function fieldsJson(fields: readonly NamedValue[]): SpelledJson {
  return Object.fromEntries(fields.map(([name, value]) => [name, spelledJson(value)]));
}

function isoTime(microseconds: number): string {
  const date = new Date(microseconds / 1000);
  return Number.isNaN(date.getTime()) ? `${microseconds} µs` : date.toISOString();
}

const MAX_SHOWN = 64;
