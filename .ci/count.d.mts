/** As much of a report as is counted. */
export interface Report {
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly assertionResults: readonly { readonly fullName: string; readonly status: string }[];
  }[];
  readonly unhandledErrors?: readonly string[];
}
export declare function failedFiles(report: Report, root: string): string[];
export declare function total(
  report: Report,
  alone: Report,
  root: string,
): { readonly lines: readonly string[]; readonly isGood: boolean };
