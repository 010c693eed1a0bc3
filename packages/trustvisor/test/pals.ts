/** PALs for the tests: WebAssembly text through wabt, linked. */
import { type LinkPalOptions, linkPal } from '@casemate/pal-linker';
import loadWabt from 'wabt';

const wabt = await loadWabt();

/** Assembles and links a module that is given as WebAssembly text. */
export function link(text: string, options: Partial<LinkPalOptions> = {}): Uint8Array {
  const parsed = wabt.parseWat('pal.wat', text);
  const { buffer: module } = parsed.toBinary({});
  parsed.destroy();
  return linkPal({ module, name: 'test', version: '1.0.0', memoryPages: 4, ...options });
}

/** Helpers of all test PALs: `$in` and `$out` are the data behind the headers; `$end` sets output length and return code. */
const PRELUDE = `
  (import "trustvisor" "utpm_pcr_read" (func $pcr_read (param i32 i32) (result i32)))
  (import "trustvisor" "utpm_pcr_extend" (func $pcr_extend (param i32 i32) (result i32)))
  (import "trustvisor" "utpm_seal" (func $seal (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "trustvisor" "utpm_unseal" (func $unseal (param i32 i32 i32 i32 i32) (result i32)))
  (import "trustvisor" "utpm_quote" (func $quote (param i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "trustvisor" "utpm_rand" (func $rand (param i32 i32) (result i32)))
  (import "trustvisor" "utpm_id_getpub" (func $getpub (param i32 i32) (result i32)))
  (import "trustvisor" "time_elapsed" (func $time (param i32 i32) (result i32)))
  (import "trustvisor" "print" (func $print (param i32 i32) (result i32)))
  (import "trustvisor" "state_read" (func $state_read (param i32 i32) (result i32)))
  (import "trustvisor" "state_write" (func $state_write (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (table 2 funcref)
  (type $nothing (func))
  (global $base_in (mut i32) (i32.const 0)) (global $base_out (mut i32) (i32.const 0)) (global $rv (mut i32) (i32.const 0))
  (func $in (result i32) (i32.add (global.get $base_in) (i32.const 16)))
  (func $in_length (result i32) (i32.load offset=12 (global.get $base_in)))
  (func $out (result i32) (i32.add (global.get $base_out) (i32.const 16)))
  (func $out_length (result i32) (i32.add (global.get $base_out) (i32.const 8)))
  (func $out_capacity (result i32) (i32.load offset=4 (global.get $base_out)))
  (func $end (param $length i32) (param $code i32)
    (i32.store (call $out_length) (local.get $length)) (i32.store (global.get $rv) (local.get $code)))`;

/** A PAL whose commands are functions `(func $c0)`, `(func $c1)` … of `commands`. */
export function palOf(
  commands: readonly string[],
  options: Partial<LinkPalOptions> = {},
  more = '',
  imports = '',
): Uint8Array {
  const functions = commands.map((body, i) => `(func $c${i} (local $a i32) (local $b i32) ${body})`).join('\n');
  const arms = commands.map((_, i) => `(if (i32.eq (local.get 0) (i32.const ${i})) (then (call $c${i}) (return)))`);
  return link(
    `(module ${imports} ${PRELUDE} ${more} ${functions}
      (func (export "pal") (param i32 i32 i32 i32)
        (global.set $base_in (local.get 1)) (global.set $base_out (local.get 2)) (global.set $rv (local.get 3))
        ${arms.join('\n')} (call $end (i32.const 0) (i32.const 0xffff))))`,
    options,
  );
}

const ECHO = `(memory.copy (call $out) (call $in) (call $in_length)) (call $end (call $in_length) (i32.const 1))`;

/** Commands of {@link rogue}. */
export const ROGUE = {
  echo: 0,
  unreachable: 1,
  outOfBounds: 2,
  divide: 3,
  loop: 4,
  recurse: 5,
  indirect: 6,
  convert: 7,
  malformed: 8,
  exhaust: 9,
  count: 10,
  print: 11,
  askForever: 12,
  askDeeper: 13,
  pcr: 14,
} as const;

/** A PAL that misbehaves on command. */
export function rogue(options: Partial<LinkPalOptions> = {}): Uint8Array {
  return palOf(
    [
      ECHO,
      '(unreachable)',
      '(drop (i32.load (i32.const -8)))',
      '(drop (i32.div_u (i32.const 1) (local.get $a)))',
      '(loop $l (br $l))',
      '(call $deep (i32.const 0)) drop',
      '(call_indirect (type $nothing) (i32.const 1))',
      '(drop (i32.trunc_f64_s (f64.const nan)))',
      '(call $end (i32.const 0x7fffffff) (i32.const 0))',
      '(loop $l (br_if $l (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) (call $end (i32.const 0) (memory.size))',
      '(global.set $n (i32.add (global.get $n) (i32.const 1))) (call $end (i32.const 0) (global.get $n))',
      '(drop (call $print (call $in) (call $in_length))) (call $end (i32.const 0) (i32.const 0))',
      '(loop $l (br_if $l (i32.eqz (call $pcr_read (i32.const 1) (i32.const 1024)))))',
      '(call $descend)',
      '(call $end (i32.const 32) (call $pcr_read (i32.const 1) (call $out)))',
    ],
    options,
    '(func $descend (drop (call $pcr_extend (i32.const 1) (i32.const 1024))) (call $descend)) (global $n (mut i32) (i32.const 0)) (func $deep (param i32) (result i32) (i32.add (call $deep (local.get 0)) (i32.const 1)))',
  );
}

/** Commands of {@link services}. The input of each is its argument, the return code the service's status. */
export const SERVICE = {
  pcrRead: 0,
  pcrExtend: 1,
  seal: 2,
  unseal: 3,
  quote: 4,
  random: 5,
  identity: 6,
  time: 7,
  sealTo: 8,
  stateRead: 9,
  stateWrite: 10,
  short: 11,
} as const;

/** A PAL that passes its services on. */
export function services(options: Partial<LinkPalOptions> = {}): Uint8Array {
  const capacity = '(i32.store (call $out_length) (call $out_capacity))';
  const index = '(i32.load8_u (call $in))';
  return palOf(
    [
      `(call $end (i32.const 32) (call $pcr_read ${index} (call $out)))`,
      `(call $end (i32.const 0) (call $pcr_extend ${index} (i32.add (call $in) (i32.const 1))))`,
      `${capacity} (i32.store (global.get $rv)
        (call $seal (call $in) (call $in_length) (i32.const 0) (i32.const 0) (call $out) (call $out_length)))`,
      `${capacity} (i32.store (global.get $rv)
        (call $unseal (call $in) (call $in_length) (call $out) (call $out_length) (i32.const 1024)))
       (if (i32.eqz (i32.load (global.get $rv)))
         (then (memory.copy (i32.add (call $out) (i32.load (call $out_length))) (i32.const 1024) (i32.const 32))
               (i32.store (call $out_length) (i32.add (i32.load (call $out_length)) (i32.const 32))))
         (else (i32.store (call $out_length) (i32.const 0))))`,
      // [attest length u32][attest][signature]
      `(i32.store (i32.const 2048) (i32.const 1024)) (i32.store (i32.const 2052) (i32.const 1024))
       (i32.store (global.get $rv) (call $quote (i32.add (call $in) (i32.const 1)) (i32.sub (call $in_length) (i32.const 1))
         ${index} (i32.const 4096) (i32.const 2048) (i32.const 8192) (i32.const 2052)))
       (if (i32.eqz (i32.load (global.get $rv)))
         (then (i32.store (call $out) (i32.load (i32.const 2048)))
           (memory.copy (i32.add (call $out) (i32.const 4)) (i32.const 4096) (i32.load (i32.const 2048)))
           (memory.copy (i32.add (i32.add (call $out) (i32.const 4)) (i32.load (i32.const 2048))) (i32.const 8192) (i32.load (i32.const 2052)))
           (i32.store (call $out_length) (i32.add (i32.const 4) (i32.add (i32.load (i32.const 2048)) (i32.load (i32.const 2052)))))))`,
      `(call $end (i32.load (call $in)) (call $rand (call $out) (i32.load (call $in))))`,
      `${capacity} (i32.store (global.get $rv) (call $getpub (call $out) (call $out_length)))`,
      `(call $end (i32.const 16) (call $time (call $out) (i32.add (call $out) (i32.const 8))))`,
      // [policy length u8][policy][data]
      `${capacity} (local.set $a ${index}) (local.set $b (i32.add (local.get $a) (i32.const 1)))
       (i32.store (global.get $rv)
        (call $seal (i32.add (call $in) (local.get $b)) (i32.sub (call $in_length) (local.get $b))
          (i32.add (call $in) (i32.const 1)) (local.get $a) (call $out) (call $out_length)))
       (if (i32.load (global.get $rv)) (then (i32.store (call $out_length) (i32.const 0))))`,
      `${capacity} (i32.store (global.get $rv) (call $state_read (call $out) (call $out_length)))
       (if (i32.load (global.get $rv)) (then (i32.store (call $out_length) (i32.const 0))))`,
      `(call $end (i32.const 0) (call $state_write (call $in) (call $in_length)))`,
      // seal into 4 bytes: the length needed comes back, the byte behind stays as it was
      `(i32.store (call $out_length) (i32.const 4)) (i32.store (call $out) (i32.const 0)) (i32.store (i32.add (call $out) (i32.const 4)) (i32.const 0x11223344))
       (i32.store (global.get $rv)
        (call $seal (call $in) (call $in_length) (i32.const 0) (i32.const 0) (call $out) (call $out_length)))
       (i32.store (i32.add (call $out) (i32.const 8)) (i32.load (call $out_length))) (i32.store (call $out_length) (i32.const 12))`,
    ],
    options,
  );
}

/** Commands of {@link counter}. */
export const COUNTER = { add: 0, read: 1, addThenTrap: 2, addRandom: 3, addSlowly: 4, loopIfZero: 5 } as const;

/**
 * A replay-protected counter (u64 in its state): adds the first byte of its input, gives the new value. `addSlowly` needs
 * about a second, `addRandom` adds a random byte, `addThenTrap` writes its state and traps.
 */
export function counter(options: Partial<LinkPalOptions> = {}): Uint8Array {
  const load =
    '(i64.store (i32.const 0) (i64.const 0)) (i32.store (i32.const 16) (i32.const 8)) (drop (call $state_read (i32.const 0) (i32.const 16)))';
  const give = '(i64.store (call $out) (i64.load (i32.const 0))) (call $end (i32.const 8) (i32.const 0))';
  const add = '(i64.store (i32.const 0) (i64.add (i64.load (i32.const 0)) (i64.load8_u (call $in))))';
  const write = '(drop (call $state_write (i32.const 0) (i32.const 8)))';
  return palOf(
    [
      `${load} ${add} ${write} ${give}`,
      `${load} ${give}`,
      `${load} ${add} ${write} (unreachable)`,
      `${load} (drop (call $rand (i32.const 32) (i32.const 1)))
       (i64.store (i32.const 0) (i64.add (i64.load (i32.const 0)) (i64.load8_u (i32.const 32)))) ${write} ${give}`,
      `${load} (local.set $a (i32.const 600000000))
       (loop $l (br_if $l (local.tee $a (i32.sub (local.get $a) (i32.const 1))))) ${add} ${write} ${give}`,
      `${load} (loop $l (br_if $l (i64.eqz (i64.load (i32.const 0))))) ${give}`,
    ],
    { replayProtected: true, name: 'counter', ...options },
  );
}
