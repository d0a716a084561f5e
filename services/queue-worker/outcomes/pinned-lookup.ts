import type { LookupAddress } from "node:dns";
import type { LookupFunction } from "node:net";

/**
 * A lookup for a socket that knows the given addresses only, whatever name it is asked for: what was checked is what is
 * connected to, however the name has changed meanwhile.
 */
export const pinnedLookup =
  (addresses: readonly LookupAddress[]): LookupFunction =>
  (_host, { all, family }, callback) => {
    const fitting = addresses.filter((each) => (family !== 4 && family !== 6 ? true : each.family === family));
    const [first] = fitting;
    if (!first) return callback(new Error(`there is no address of family ${family}`), []);
    if (all) return callback(null, [...fitting]);
    callback(null, first.address, first.family);
  };
