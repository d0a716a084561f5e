import { BuskerError } from "../../schemas/errors.ts";
import type { FunctionRecord } from "../../schemas/function.ts";
import type { Bucket, Entry } from "../bus/kv.ts";
import type { Reconciler } from "./reconciler.ts";

/** Writes wishes into the bucket `functions` and lets the reconciler know at once. */
export interface FunctionStore {
  readonly get: (key: string) => Promise<Entry<FunctionRecord> | undefined>;
  /** Throws `conflict` when the key exists. */
  readonly create: (key: string, record: FunctionRecord) => Promise<void>;
  /**
   * Changes what is there by compare-and-set, again when somebody was faster; `change` gives undefined to leave it.
   * `known`, where given, saves reading it first. Gives what is there in the end; undefined when there is no such key.
   */
  readonly change: (
    key: string,
    change: (record: FunctionRecord) => FunctionRecord | undefined,
    known?: Entry<FunctionRecord>,
  ) => Promise<FunctionRecord | undefined>;
  readonly remove: (entry: Entry<FunctionRecord>) => Promise<void>;
  /** The newest value of another revision than this one, from the bucket's history. */
  readonly findPrevious: (key: string, revision: string) => Promise<FunctionRecord | undefined>;
}

const maxTries = 10;

const isConflict = (error: unknown): boolean => error instanceof BuskerError && error.code === "conflict";

/** Opens the store on its bucket; `onCreate` is told of a record before it is written. */
export const createFunctionStore = (
  bucket: Omit<Bucket<FunctionRecord>, "watch" | "put">,
  reconciler: Pick<Reconciler, "takeEntry" | "takeRemoval">,
  onCreate: (record: FunctionRecord) => void,
): FunctionStore => {
  const write = async ({ key, revision }: Entry<FunctionRecord>, value: FunctionRecord): Promise<FunctionRecord> => {
    reconciler.takeEntry({ key, value, revision: await bucket.update(key, value, revision) });
    return value;
  };
  return {
    get: bucket.get,
    create: async (key, value) => {
      onCreate(value);
      reconciler.takeEntry({ key, value, revision: await bucket.create(key, value) });
    },
    change: async (key, change, known) => {
      let entry = known ?? (await bucket.get(key));
      for (let tries = 1; entry; tries += 1) {
        const changed = change(entry.value);
        if (!changed) return entry.value;
        try {
          return await write(entry, changed);
        } catch (error) {
          if (!isConflict(error) || tries === maxTries) throw error;
          entry = await bucket.get(key);
        }
      }
      return undefined;
    },
    remove: async (entry) => {
      await bucket.remove(entry.key);
      reconciler.takeRemoval(entry);
    },
    findPrevious: async (key, revision) =>
      (await bucket.history(key)).find(({ value }) => value.revision !== revision)?.value,
  };
};
