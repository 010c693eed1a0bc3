/** The subcommands by name. */
import type { Subcommand } from '../command.js';
import { aikCreate, bind, createKey, seal, unbind, unseal } from './key.js';
import { defineSpace, list, lock, read, releaseSpace, write } from './nv.js';
import { changeOwner, clear, createEk, pubekRead, resetLock, takeOwner } from './owner.js';
import { pcrExtend, pcrRead, pcrReset, quote, quote2, verify } from './pcr.js';
import { enable, random, selfTest, startup, tpmFlags, tpmInfo, tpmVersion } from './tpm.js';

/** Every subcommand. */
export const subcommands: Readonly<Record<string, Subcommand>> = {
  tpm_version: tpmVersion,
  tpm_info: tpmInfo,
  tpm_flags: tpmFlags,
  tpm_startup: startup,
  tpm_enable: enable,
  self_test: selfTest,
  random,
  create_ek: createEk,
  pubek_read: pubekRead,
  take_owner: takeOwner,
  clear_owner: clear,
  change_owner: changeOwner,
  reset_lock: resetLock,
  nv_definespace: defineSpace,
  nv_releasespace: releaseSpace,
  nv_read: read,
  nv_write: write,
  nv_list: list,
  nv_lock: lock,
  pcr_read: pcrRead,
  pcr_extend: pcrExtend,
  pcr_reset: pcrReset,
  create_key: createKey,
  aik_create: aikCreate,
  quote,
  quote2,
  verify,
  bind,
  unbind,
  seal,
  unseal,
};

/** Those that work on files alone. */
export const offline: ReadonlySet<Subcommand> = new Set([bind, verify]);
