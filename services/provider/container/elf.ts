import { closeSync, openSync, readSync } from "node:fs";

/** What an ELF file says of how it is loaded. */
export interface ElfFile {
  /** Path of the loader that the file asks for; undefined for a library, and for a program linked statically. */
  readonly interpreter: string | undefined;
  /** The name by which others need it. */
  readonly soname: string | undefined;
  /** Names of the libraries it needs, in their order. */
  readonly needed: readonly string[];
}

// Numbers of the ELF-64 specification, version 1.5.
const programLoad = 1;
const programDynamic = 2;
const programInterpreter = 3;
const dynamicNeeded = 1n;
const dynamicStringTable = 5n;
const dynamicSoname = 14n;

interface Segment {
  readonly type: number;
  readonly offset: number;
  readonly address: bigint;
  readonly bytes: number;
}

/** Gives bytes of a file; fewer at its end. */
type ReadAt = (offset: number, bytes: number) => Buffer;

const headBytes = 64;

const readSegments = (read: ReadAt, head: Buffer): readonly Segment[] => {
  const size = head.readUInt16LE(54);
  const count = head.readUInt16LE(56);
  const data = read(Number(head.readBigUInt64LE(32)), size * count);
  return Array.from({ length: count }, (_, index) => {
    const at = index * size;
    return {
      type: data.readUInt32LE(at),
      offset: Number(data.readBigUInt64LE(at + 8)),
      address: data.readBigUInt64LE(at + 16),
      bytes: Number(data.readBigUInt64LE(at + 32)),
    };
  });
};

// Longer than any path or name of a library may be.
const maxTextBytes = 4096;

const readText = (read: ReadAt, at: number): string => {
  const data = read(at, maxTextBytes);
  return data.toString("latin1", 0, data.indexOf(0));
};

const readDynamic = (read: ReadAt, { offset, bytes }: Segment): readonly (readonly [tag: bigint, value: bigint])[] => {
  const data = read(offset, bytes);
  const entries: (readonly [bigint, bigint])[] = [];
  for (let at = 0; at < bytes; at += 16) entries.push([data.readBigUInt64LE(at), data.readBigUInt64LE(at + 8)]);
  return entries;
};

/** Where in the file stands what is loaded at an address. */
const fileOffset = (segments: readonly Segment[], address: bigint): number => {
  const holder = segments.find(
    ({ type, address: start, bytes }) => type === programLoad && start <= address && address < start + BigInt(bytes),
  );
  if (!holder) throw new RangeError("its dynamic section points outside of the file");
  return holder.offset + Number(address - holder.address);
};

/** Reads what a 64-bit little-endian ELF file says, and not the rest of it. Throws RangeError saying what it is not. */
const readElf = (read: ReadAt): ElfFile => {
  const head = read(0, headBytes);
  if (head.toString("latin1", 0, 4) !== "\x7fELF") throw new RangeError("it is no ELF file");
  if (head[4] !== 2 || head[5] !== 1) throw new RangeError("it is no 64-bit little-endian ELF file");
  const segments = readSegments(read, head);
  const interpreter = segments.find(({ type }) => type === programInterpreter);
  const dynamic = segments.find(({ type }) => type === programDynamic);
  const entries = dynamic ? readDynamic(read, dynamic) : [];
  const strings = entries.find(([tag]) => tag === dynamicStringTable)?.[1];
  const textsOf = (wanted: bigint): readonly string[] =>
    strings === undefined
      ? []
      : entries
          .filter(([tag]) => tag === wanted)
          .map(([, value]) => readText(read, fileOffset(segments, strings) + Number(value)));
  return {
    interpreter: interpreter && readText(read, interpreter.offset),
    soname: textsOf(dynamicSoname)[0],
    needed: textsOf(dynamicNeeded),
  };
};

/** `readElf` of a file. Throws also what the system says of it. */
export const readElfFile = (path: string): ElfFile => {
  const file = openSync(path, "r");
  try {
    return readElf((offset, bytes) => {
      const data = Buffer.alloc(bytes);
      return data.subarray(0, readSync(file, data, 0, bytes, offset));
    });
  } finally {
    closeSync(file);
  }
};
