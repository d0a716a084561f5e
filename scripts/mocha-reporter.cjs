// Mocha's spec reporter on the screen, and the counts as JSON in a file (`--reporter-option output=FILE`).
const { writeFileSync } = require("node:fs");
const { Runner, reporters } = require("mocha");

module.exports = class extends reporters.Spec {
  constructor(runner, options) {
    super(runner, options);
    const { output } = options.reporterOptions;
    runner.once(Runner.constants.EVENT_RUN_END, () => writeFileSync(output, JSON.stringify({ stats: this.stats })));
  }
};
