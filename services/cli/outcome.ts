/** A command says here that it failed without an error of its own: `invoke` of a function that answered 500. */
export interface Outcome {
  exitCode: number;
}
