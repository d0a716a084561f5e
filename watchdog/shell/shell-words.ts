/** What a shell takes as the name of a variable. */
const namePattern = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** Longest single string the kernel takes in an environment (Linux' MAX_ARG_STRLEN), less room for the name. */
const maxValueBytes = 120 * 1024;

/** One word of a script: whatever it holds, the shell takes it as it is. A NUL cannot be in one. */
export const quoteWord = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

/** Whether a shell passes all these variables on: one whose name is no identifier it drops without a word. */
export const canShellExport = (env: Readonly<Record<string, string>>): boolean =>
  Object.keys(env).every((name) => namePattern.test(name));

/** Variables before a command; undefined when a shell or the kernel would not take one of them. */
export const quoteAssignments = (env: Readonly<Record<string, string>>): string | undefined => {
  let words = "";
  for (const [name, value] of Object.entries(env)) {
    if (!namePattern.test(name) || value.length > maxValueBytes || value.includes("\0")) return undefined;
    words += `${name}=${quoteWord(value)} `;
  }
  return words;
};
