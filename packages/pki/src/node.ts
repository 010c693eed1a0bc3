/** The stores: directories that hold a hierarchy and what it issued. */
export { openStore, type PkiStore, type StoreOptions } from './store.js';
