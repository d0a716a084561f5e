import type { FunctionSpec } from "../../../schemas/function.ts";
import { formatFunctionName, type FunctionName } from "../../../schemas/names.ts";

/** What a revision runs from. */
export interface Pin {
  /** The image's content id. */
  readonly id: string;
  /** The reference by which a registry gives the same again; undefined where none is known to. */
  readonly digest: string | undefined;
}

/** One revision of a function. */
export interface RevisionName extends FunctionName {
  readonly revision: string;
}

/** Which image each revision runs from, so that a tag that moves does not mix versions among its replicas. */
export interface ImagePins {
  /** Notes what a spec was looked up as, for the revision it becomes. What it gives lets `collect` forget the function. */
  readonly prepare: (spec: FunctionSpec, pin: Pin) => () => void;
  readonly pin: (revision: RevisionName, pin: Pin) => void;
  readonly has: (revision: RevisionName) => boolean;
  /** What a revision is pinned to, or what its spec was looked up as. */
  readonly find: (spec: FunctionSpec, revision: string) => Pin | undefined;
  /** Forgets functions that are not among these and of which no spec is held. */
  readonly collect: (inUse: readonly FunctionName[]) => void;
}

interface Known {
  prepared: { readonly image: string; readonly pin: Pin } | undefined;
  /** The newest last. */
  readonly revisions: Map<string, Pin>;
  holds: number;
}

// As many as a function's record goes back, and some that drain.
const maxRevisions = 8;

/** Makes an empty table. */
export const createImagePins = (): ImagePins => {
  const functions = new Map<string, Known>();
  const open = (name: FunctionName): Known => {
    const key = formatFunctionName(name);
    const known = functions.get(key) ?? { prepared: undefined, revisions: new Map(), holds: 0 };
    functions.set(key, known);
    return known;
  };
  return {
    prepare: (spec, pin) => {
      const known = open(spec);
      known.prepared = { image: spec.image, pin };
      known.holds += 1;
      let isHeld = true;
      return () => {
        if (isHeld) known.holds -= 1;
        isHeld = false;
      };
    },
    pin: (name, pin) => {
      const { revisions } = open(name);
      revisions.delete(name.revision);
      revisions.set(name.revision, pin);
      for (const oldest of [...revisions.keys()].slice(0, -maxRevisions)) revisions.delete(oldest);
    },
    has: (name) => functions.get(formatFunctionName(name))?.revisions.has(name.revision) ?? false,
    find: (spec, revision) => {
      const known = functions.get(formatFunctionName(spec));
      const prepared = known?.prepared?.image === spec.image ? known.prepared.pin : undefined;
      return known?.revisions.get(revision) ?? prepared;
    },
    collect: (inUse) => {
      const names = new Set(inUse.map(formatFunctionName));
      for (const [key, { holds }] of functions) if (holds === 0 && !names.has(key)) functions.delete(key);
    },
  };
};
