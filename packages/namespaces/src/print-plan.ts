/** Plans for people: one operation a line. */
import type { Operation } from './operations.js';
import type { Plan } from './plan.js';

/** The plan as text, one numbered operation a line, with its arguments as JSON. */
export function printPlan(plan: Plan): string {
  return plan.operations.map((operation, i) => `${String(i).padStart(3)} ${printOperation(operation)}`).join('\n');
}

function printOperation({ op, ...fields }: Operation): string {
  if (Object.keys(fields).length === 0) return op;
  return `${op} ${JSON.stringify(fields, printValue)}`;
}

function printValue(_: string, value: unknown): unknown {
  if (typeof value === 'bigint') return `0x${value.toString(16)}`;
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  return value;
}
