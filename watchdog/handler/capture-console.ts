import { Console } from "node:console";
import { Writable } from "node:stream";
import { createLineSplitter } from "../line-splitter.ts";
import type { ModeContext } from "../mode.ts";

const names = ["log", "info", "debug", "error", "warn", "trace", "dir", "table"] as const;

const createSink = (maxLineBytes: number, onLine: (line: string) => void): Writable => {
  const lines = createLineSplitter(maxLineBytes, onLine);
  return new Writable({
    decodeStrings: true,
    write(chunk: Buffer, _encoding, done) {
      lines.push(chunk);
      done();
    },
  });
};

/**
 * Sends what a handler writes with `console` to the function's log instead of the watchdog's own output. Gives the
 * function that puts `console` back.
 */
export const captureConsole = (log: ModeContext["log"], maxLineBytes: number): (() => void) => {
  const captured = new Console({
    stdout: createSink(maxLineBytes, (line) => log("stdout", line)),
    stderr: createSink(maxLineBytes, (line) => log("stderr", line)),
  });
  const before = names.map((name) => [name, console[name]] as const);
  for (const name of names) console[name] = captured[name].bind(captured);
  return () => {
    for (const [name, method] of before) console[name] = method;
  };
};
