/** What is used of chai, which comes without types. */
declare module 'chai' {
  /** Adds a plugin. */
  export function use(plugin: unknown): void;
  /** Begins an assertion. */
  export function expect(value: unknown, message?: string): unknown;
}
