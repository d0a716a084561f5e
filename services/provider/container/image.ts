/** What an engine tells of an image's configuration: the part that matters to us. */
export interface ImageConfig {
  readonly Entrypoint?: readonly string[] | string | null | undefined;
  readonly Cmd?: readonly string[] | string | null | undefined;
  readonly Env?: readonly string[] | null | undefined;
  readonly WorkingDir?: string | null | undefined;
  readonly User?: string | null | undefined;
}

const words = (value: readonly string[] | string | null | undefined): readonly string[] =>
  typeof value === "string" ? [value] : (value ?? []);

/** What the image would run by itself, word by word; engines have put a shell before the shell forms already. */
export const imageCommand = ({ Entrypoint, Cmd }: ImageConfig): readonly string[] => [
  ...words(Entrypoint),
  ...words(Cmd),
];

/** The environment that the image sets. */
export const imageEnvironment = ({ Env }: ImageConfig): Record<string, string> =>
  Object.fromEntries(
    (Env ?? []).map((line) => {
      const mark = line.indexOf("=");
      return mark < 0 ? [line, ""] : [line.slice(0, mark), line.slice(mark + 1)];
    }),
  );
