/** Prints rows under their headings, columns as wide as needed; numbers with at most two decimals. */
export const printTable = (
  title: string,
  headings: readonly string[],
  rows: readonly (readonly (string | number)[])[],
): void => {
  const cells = [headings, ...rows].map((row) => row.map((cell) => (typeof cell === "number" ? format(cell) : cell)));
  const widths = headings.map((_, column) => Math.max(...cells.map((row) => row[column]?.length ?? 0)));
  console.log(`\n## ${title}\n`);
  for (const [index, row] of cells.entries()) {
    console.log(`| ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(" | ")} |`);
    if (index === 0) console.log(`|${widths.map((width) => "-".repeat(width + 2)).join("|")}|`);
  }
};

const format = (value: number): string =>
  Number.isInteger(value) || value >= 1000 ? value.toFixed(0) : value.toFixed(value < 1 ? 3 : 2);

/** Whether a figure reaches what it must and what it aims for, in a word. */
export const judge = (value: number, must: number, aim: number, better: "higher" | "lower"): string => {
  const reaches = (bound: number): boolean => (better === "higher" ? value >= bound : value <= bound);
  if (reaches(aim)) return "reaches the aim";
  return reaches(must) ? "does what it must" : "TOO SLOW";
};
