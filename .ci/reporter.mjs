// vitest's JSON report, and in it the errors that belong to no test, of which the report itself says nothing.
import { JsonReporter } from 'vitest/node';

// biome-ignore lint/style/noDefaultExport: vitest takes the default export for the reporter
export default class extends JsonReporter {
  #unhandled = [];

  async onTestRunEnd(modules, errors) {
    this.#unhandled = errors.map(({ name, message }) => `${name}: ${message}`);
    await super.onTestRunEnd(modules, errors);
  }

  async writeReport(report) {
    await super.writeReport(JSON.stringify({ ...JSON.parse(report), unhandledErrors: this.#unhandled }));
  }
}
