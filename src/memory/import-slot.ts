/**
 * Where a loaded ELF library keeps the address of a function it imports (its .got.plt slot), and how to point that
 * slot somewhere else for a while. This is what lets us answer libllama's own `mmap` call while a model loads. It is
 * Linux only and knows nothing of models.
 */
import fs from "node:fs";
import { makeWritable, PAGE_BYTES, viewMemory } from "./libc.ts";

/** Program header and dynamic section entries we use; names and numbers of the ELF64 specification. */
const PT_LOAD = 1;
const PT_DYNAMIC = 2;
const DT_PLTRELSZ = 2;
const DT_STRTAB = 5;
const DT_SYMTAB = 6;
const DT_JMPREL = 23;
const RELA_BYTES = 24;
const SYMBOL_BYTES = 24;

/**
 * Link-time address of a library's import slot for `symbol`; undefined when the library does not import it lazily, or
 * when the file is not a sound one.
 */
export function findImportSlot(elf: Buffer, symbol: string): number | undefined {
  try {
    return slotOf(elf, symbol);
  } catch (error) {
    // An offset that points out of the file.
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

function slotOf(elf: Buffer, symbol: string): number | undefined {
  if (elf.length < 64 || elf.readUInt32BE(0) !== 0x7f454c46 || elf[4] !== 2 || elf[5] !== 1) return undefined;
  const u64 = (at: number): number => Number(elf.readBigUInt64LE(at));
  const headers = u64(32);
  const segments: { offset: number; address: number; bytes: number }[] = [];
  const dynamic = new Map<number, number>();
  for (let i = 0; i < elf.readUInt16LE(56); i++) {
    const at = headers + i * 56;
    const type = elf.readUInt32LE(at);
    if (type === PT_LOAD) segments.push({ offset: u64(at + 8), address: u64(at + 16), bytes: u64(at + 32) });
    if (type === PT_DYNAMIC) for (let q = u64(at + 8); u64(q) !== 0; q += 16) dynamic.set(u64(q), u64(q + 8));
  }
  const fileOffset = (address: number | undefined): number | undefined => {
    const segment = segments.find(
      (s) => address !== undefined && address >= s.address && address < s.address + s.bytes,
    );
    return segment && address !== undefined ? address - segment.address + segment.offset : undefined;
  };
  const relocations = fileOffset(dynamic.get(DT_JMPREL));
  const symbols = fileOffset(dynamic.get(DT_SYMTAB));
  const strings = fileOffset(dynamic.get(DT_STRTAB));
  if (relocations === undefined || symbols === undefined || strings === undefined) return undefined;
  const end = relocations + (dynamic.get(DT_PLTRELSZ) ?? 0);
  for (let r = relocations; r < end; r += RELA_BYTES) {
    const name = strings + elf.readUInt32LE(symbols + elf.readUInt32LE(r + 12) * SYMBOL_BYTES);
    if (elf.toString("latin1", name, name + symbol.length + 1) === `${symbol}\0`) return u64(r);
  }
  return undefined;
}

/** Address at which the dynamic loader placed `libraryPath`, from /proc/self/maps. */
function loadAddress(libraryPath: string): number | undefined {
  const line = fs
    .readFileSync("/proc/self/maps", "utf8")
    .split("\n")
    .find((l) => l.endsWith(libraryPath) && / 00000000 /.test(l));
  return line === undefined ? undefined : Number.parseInt(line, 16);
}

export interface ImportRedirect {
  /** Points the import back to where it was. */
  restore(): void;
}

/**
 * Makes `libraryPath`'s calls of `symbol` go to `target` until `restore()`. Undefined when this library or system
 * offers no such slot; the caller must then say that it goes on without.
 */
export function redirectImport(libraryPath: string, symbol: string, target: bigint): ImportRedirect | undefined {
  if (process.platform !== "linux") return undefined;
  const real = fs.realpathSync(libraryPath);
  const base = loadAddress(real);
  const slotOffset = findImportSlot(fs.readFileSync(real), symbol);
  if (base === undefined || slotOffset === undefined) return undefined;
  const address = base + slotOffset;
  // Libraries linked with full RELRO keep the slots read-only after start-up.
  makeWritable(Math.floor(address / PAGE_BYTES) * PAGE_BYTES, PAGE_BYTES);
  const slot = new BigUint64Array(viewMemory(address, 8));
  const original = slot[0];
  slot[0] = target;
  return {
    restore: () => {
      slot[0] = original;
    },
  };
}
