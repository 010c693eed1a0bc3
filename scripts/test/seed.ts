/** Property tests draw anew in each run; where FAST_CHECK_SEED is set, as in CI, all draw from that one seed. */
import fc from 'fast-check';

const seed = process.env.FAST_CHECK_SEED;
if (seed !== undefined) fc.configureGlobal({ seed: Number(seed) });
