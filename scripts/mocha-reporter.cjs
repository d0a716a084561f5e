// Mocha's spec reporter on the screen with the slowest files, and the counts as JSON in a file (`--reporter-option output=FILE`).
const { writeFileSync } = require("node:fs");
const { relative } = require("node:path");
const { Runner, reporters } = require("mocha");

const shown = 12;

module.exports = class extends reporters.Spec {
  #tookMs = new Map();

  constructor(runner, options) {
    super(runner, options);
    const { output } = options.reporterOptions;
    const { EVENT_RUN_END, EVENT_SUITE_BEGIN, EVENT_SUITE_END } = Runner.constants;
    let begunMs = 0;
    runner.on(EVENT_SUITE_BEGIN, ({ parent }) => {
      if (parent?.root) begunMs = performance.now();
    });
    runner.on(EVENT_SUITE_END, ({ parent, file }) => {
      if (parent?.root) this.#tookMs.set(file, (this.#tookMs.get(file) ?? 0) + performance.now() - begunMs);
    });
    runner.once(EVENT_RUN_END, () => writeFileSync(output, JSON.stringify({ stats: this.stats })));
  }

  epilogue() {
    super.epilogue();
    const slowest = [...this.#tookMs].toSorted(([, one], [, other]) => other - one).slice(0, shown);
    for (const [file, ms] of slowest) console.log(`${Math.round(ms / 1000)} s  ${relative("", file)}`);
  }
};
