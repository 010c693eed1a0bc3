/** Step 1: the certificate authorities of the device's maker, made once. */
import { deviceMakerTemplate, type Hierarchy, PkiError } from '@casemate/pki';
import { openStore, type PkiStore } from '@casemate/pki/node';

/** The maker's authorities and their store. */
export interface Maker {
  readonly store: PkiStore;
  readonly hierarchy: Hierarchy;
  readonly isNew: boolean;
}

/** Opens the authorities, or makes them where there are none. */
export async function openMaker(path: string): Promise<Maker> {
  const store = await openStore(path);
  try {
    return { store, hierarchy: await store.load(), isNew: false };
  } catch (error) {
    if (!(error instanceof PkiError && error.code === 'not-found')) throw error;
  }
  const template = deviceMakerTemplate({ countryName: 'DE', organizationName: 'Edge Devices' });
  return { store, hierarchy: await store.generate(template), isNew: true };
}
