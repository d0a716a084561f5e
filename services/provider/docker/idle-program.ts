/*
 * A program that does nothing for ever, as small as a program can be: what holds a network open needs a process, and must
 * cost nothing. One segment, with the code right behind the two headers.
 */

const headersBytes = 64 + 56;
const loadAddress = 0x400000;

/** Number of the machine in an ELF header, and code that waits for ever. */
const machines: Readonly<Record<string, { readonly machine: number; readonly code: readonly number[] }>> = {
  // mov eax, 34 (pause); syscall; jmp to the start
  x64: { machine: 62, code: [0xb8, 34, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7] },
  // x0 to x3 = 0; x8 = 73 (ppoll); svc 0; b to the start
  arm64: {
    machine: 183,
    code: [0xd2800000, 0xd2800001, 0xd2800002, 0xd2800003, 0xd2800928, 0xd4000001, 0x17fffffa].flatMap((word) => [
      word & 255,
      (word >>> 8) & 255,
      (word >>> 16) & 255,
      word >>> 24,
    ]),
  },
};

const elfHeader = (machine: number): Buffer => {
  const header = Buffer.alloc(64);
  // 64 bits, little endian, version 1, System V.
  Buffer.from([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]).copy(header);
  header.writeUInt16LE(2, 16);
  header.writeUInt16LE(machine, 18);
  header.writeUInt32LE(1, 20);
  header.writeBigUInt64LE(BigInt(loadAddress + headersBytes), 24);
  header.writeBigUInt64LE(64n, 32);
  header.writeUInt16LE(64, 52);
  header.writeUInt16LE(56, 54);
  header.writeUInt16LE(1, 56);
  return header;
};

const segmentHeader = (bytes: number): Buffer => {
  const header = Buffer.alloc(56);
  header.writeUInt32LE(1, 0);
  // To be read and executed.
  header.writeUInt32LE(5, 4);
  header.writeBigUInt64LE(BigInt(loadAddress), 16);
  header.writeBigUInt64LE(BigInt(loadAddress), 24);
  header.writeBigUInt64LE(BigInt(bytes), 32);
  header.writeBigUInt64LE(BigInt(bytes), 40);
  // The largest page that either machine has.
  header.writeBigUInt64LE(0x10000n, 48);
  return header;
};

/** The program for a machine, by Node's name of it; undefined where there is none. */
export const idleProgram = (arch: string): Buffer | undefined => {
  const found = machines[arch];
  if (!found) return undefined;
  const bytes = headersBytes + found.code.length;
  return Buffer.concat([elfHeader(found.machine), segmentHeader(bytes), Buffer.from(found.code)]);
};
