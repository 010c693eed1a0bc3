/** One public entry point of a package. */
export interface Entry {
  readonly specifier: string;
  readonly file: string;
  readonly source: string;
  readonly declarations: string;
  readonly report: string;
}
/** One published package. */
export interface Package {
  readonly name: string;
  readonly dir: string;
  readonly manifest: { readonly name: string; readonly version: string };
  readonly entries: readonly Entry[];
}
export declare const layers: readonly string[];
export declare const pureEntries: Readonly<Record<string, number>>;
export declare function packages(): readonly Package[];
export declare function allPackages(): readonly Package[];
