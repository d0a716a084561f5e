import type { BuskerError } from "../../schemas/errors.ts";
import type { IncomingBody } from "./body-receiver.ts";

/**
 * A body as something to loop over, at the loop's own pace; what it breaks with is thrown. To be called in the turn in which the
 * body was handed over. `onLeft` is called when the loop is left before the end.
 */
export const iterateBody = (first: Uint8Array, rest: IncomingBody, onLeft: () => void): AsyncIterable<Uint8Array> => {
  const chunks: Uint8Array[] = first.length > 0 ? [first] : [];
  let end: { readonly error?: BuskerError } | undefined;
  let wake = (): void => {};
  rest.listen({
    onData: (chunk) => {
      chunks.push(chunk);
      wake();
    },
    onEnd: () => {
      end = {};
      wake();
    },
    onError: (error) => {
      end = { error };
      wake();
    },
  });
  const loop = async function* (): AsyncGenerator<Uint8Array> {
    try {
      for (;;) {
        const chunk = chunks.shift();
        if (chunk) {
          yield chunk;
          rest.consumed(chunk.length);
        } else if (end?.error) throw end.error;
        else if (end) return;
        else await new Promise<void>((resolve) => (wake = resolve));
      }
    } finally {
      if (!end) onLeft();
    }
  };
  return loop();
};
