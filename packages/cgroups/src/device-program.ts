/** Device rules as an eBPF program of type CGROUP_DEVICE: cgroup-v2.rst "Device controller", linux/bpf.h `bpf_cgroup_dev_ctx`. */
import { type DeviceRule, type DeviceSet, normaliseDeviceRules } from './device-rules.js';
import { EbpfAssembler, type EbpfLabel } from './ebpf-assembler.js';

/**
 * Compiles device rules to an eBPF program, as `struct bpf_insn[]`, that allows what they allow and refuses everything else.
 *
 * The kernel asks it once with all kinds of access that are wanted. The program walks the rules from the last to the first and keeps the
 * kinds that no rule has decided yet; one that is refused, or that none has decided, refuses the whole. Throws {@link CgroupError} `bad-limit`.
 */
export function compileDeviceProgram(rules: readonly DeviceRule[]): Uint8Array {
  const code = new EbpfAssembler();
  code.loadWord(TYPE, CONTEXT, 0);
  code.move(ACCESS, TYPE);
  code.shiftRight(ACCESS, 16);
  code.and(TYPE, 0xffff);
  code.loadWord(MAJOR, CONTEXT, 4);
  code.loadWord(MINOR, CONTEXT, 8);
  const granted = code.label();
  const sets = normaliseDeviceRules(rules).toReversed();
  for (const rule of sets) compileRule(code, rule, granted);
  code.setImmediate(RESULT, 0);
  code.exit();
  if (!sets.some(({ allow }) => allow)) return code.assemble(); // the kernel refuses code that cannot be reached
  code.place(granted);
  code.setImmediate(RESULT, 1);
  code.exit();
  return code.assemble();
}

function compileRule(code: EbpfAssembler, rule: DeviceSet & { readonly allow: boolean }, granted: EbpfLabel): void {
  const next = code.label();
  const bits = [...rule.access].reduce((sum, letter) => sum | (ACCESS_BITS[letter] ?? 0), 0);
  code.jumpUnlessEqual(TYPE, rule.type === 'char' ? DEV_CHAR : DEV_BLOCK, next);
  if (rule.major !== undefined) code.jumpUnlessEqual(MAJOR, rule.major, next);
  if (rule.minor !== undefined) code.jumpUnlessEqual(MINOR, rule.minor, next);
  if (rule.allow) {
    code.and(ACCESS, ~bits);
    code.jumpIfEqual(ACCESS, 0, granted);
  } else {
    code.jumpUnlessAny(ACCESS, bits, next);
    code.setImmediate(RESULT, 0);
    code.exit();
  }
  code.place(next);
}

const RESULT = 0;
const CONTEXT = 1;
const TYPE = 2;
const ACCESS = 3;
const MAJOR = 4;
const MINOR = 5;

const DEV_BLOCK = 1;
const DEV_CHAR = 2;
const ACCESS_BITS: Readonly<Record<string, number>> = { m: 1, r: 2, w: 4 };
