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

const readSegments = (data: Buffer): readonly Segment[] => {
  const start = Number(data.readBigUInt64LE(32));
  const size = data.readUInt16LE(54);
  return Array.from({ length: data.readUInt16LE(56) }, (_, index) => {
    const at = start + index * size;
    return {
      type: data.readUInt32LE(at),
      offset: Number(data.readBigUInt64LE(at + 8)),
      address: data.readBigUInt64LE(at + 16),
      bytes: Number(data.readBigUInt64LE(at + 32)),
    };
  });
};

const readText = (data: Buffer, at: number): string => data.toString("latin1", at, data.indexOf(0, at));

const readDynamic = (data: Buffer, { offset, bytes }: Segment): readonly (readonly [tag: bigint, value: bigint])[] => {
  const entries: (readonly [bigint, bigint])[] = [];
  for (let at = offset; at < offset + bytes; at += 16)
    entries.push([data.readBigUInt64LE(at), data.readBigUInt64LE(at + 8)]);
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

/** Reads a 64-bit little-endian ELF file, whole. Throws RangeError saying what it is not. */
export const readElf = (data: Buffer): ElfFile => {
  if (data.toString("latin1", 0, 4) !== "\x7fELF") throw new RangeError("it is no ELF file");
  if (data[4] !== 2 || data[5] !== 1) throw new RangeError("it is no 64-bit little-endian ELF file");
  const segments = readSegments(data);
  const interpreter = segments.find(({ type }) => type === programInterpreter);
  const dynamic = segments.find(({ type }) => type === programDynamic);
  const entries = dynamic ? readDynamic(data, dynamic) : [];
  const strings = entries.find(([tag]) => tag === dynamicStringTable)?.[1];
  const textsOf = (wanted: bigint): readonly string[] =>
    strings === undefined
      ? []
      : entries
          .filter(([tag]) => tag === wanted)
          .map(([, value]) => readText(data, fileOffset(segments, strings) + Number(value)));
  return {
    interpreter: interpreter && readText(data, interpreter.offset),
    soname: textsOf(dynamicSoname)[0],
    needed: textsOf(dynamicNeeded),
  };
};
