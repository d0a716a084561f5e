import { iterateBody } from "../../bus/iterate-body.ts";
import type { ObjectStore } from "../../bus/objects.ts";
import type { PartsReader } from "../../bus/parts-reader.ts";
import type { BodyReader } from "./response-body.ts";

const nothing = new Uint8Array();

/** Reads responses from where they are kept, at the pace at which they are taken. */
export const openBodyReader = (payloads: ObjectStore, parts: PartsReader): BodyReader => ({
  payload: async function* (name) {
    yield* await payloads.get(name);
  },
  parts: async function* (record) {
    const { rest, stop } = await parts.open(record);
    yield* iterateBody(nothing, rest, stop);
  },
});
