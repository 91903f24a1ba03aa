/**
 * Answers libllama's `mmap` of the model's files while it loads. With "reserve" it gets reserved anonymous memory of
 * the same size, so that nothing of the file is read or mapped and its bytes can be put where the tensors point;
 * with "map" it gets the ordinary mapping without MAP_POPULATE, which would read the whole file (1.77 GB: 1,470 ms
 * against 8 ms). It moves no tensor data itself.
 */
import fs from "node:fs";
import koffi from "koffi";
import { redirectImport } from "./import-slot.ts";
import { mapFile, reserveMemory } from "./libc.ts";

export type MappingMode = "reserve" | "map";

export interface MappedFile {
  readonly path: string;
  /** Address of the file's byte 0. */
  readonly base: number;
  readonly bytes: number;
}

export interface MappingCapture {
  /** Files that were mapped since, by the path given at creation. */
  readonly mapped: readonly MappedFile[];
  restore(): void;
}

const MmapCallback = koffi.proto(
  "uintptr_t WarmsetMmap(uintptr_t addr, size_t len, int prot, int flags, int fd, int64_t off)",
);
const AdviseCallback = koffi.proto("int WarmsetAdvise(uintptr_t addr, size_t len, int advice)");
const FadviseCallback = koffi.proto("int WarmsetFadvise(int fd, int64_t off, int64_t len, int advice)");

/**
 * From now until `restore()`, mappings of `paths` by `libraryPath` are answered here. Undefined where the library's
 * imports cannot be redirected; the model must then be loaded the ordinary way, and the user be told.
 */
export function captureMappings(
  libraryPath: string,
  paths: readonly string[],
  mode: MappingMode,
): MappingCapture | undefined {
  const byInode = new Map(paths.map((path) => [inodeOf(fs.statSync(path)), path]));
  const mapped: MappedFile[] = [];
  const onMmap = (_addr: number, len: number, _prot: number, _flags: number, fd: number, _off: number): number => {
    const path = byInode.get(inodeOf(fs.fstatSync(fd)));
    const base = path !== undefined && mode === "reserve" ? reserveMemory(len) : mapFile(fd, len);
    if (path !== undefined) mapped.push({ path, base, bytes: len });
    return base;
  };
  // POSIX_MADV_WILLNEED on the whole mapping and POSIX_FADV_SEQUENTIAL on the file start read-ahead of their own.
  const callbacks = [
    { symbol: "mmap", pointer: koffi.register(onMmap, koffi.pointer(MmapCallback)) },
    { symbol: "posix_madvise", pointer: koffi.register(() => 0, koffi.pointer(AdviseCallback)) },
    { symbol: "posix_fadvise", pointer: koffi.register(() => 0, koffi.pointer(FadviseCallback)) },
  ];
  const redirects = callbacks.map(({ symbol, pointer }) => redirectImport(libraryPath, symbol, koffi.address(pointer)));
  const restore = () => {
    for (const redirect of redirects) redirect?.restore();
    for (const { pointer } of callbacks) koffi.unregister(pointer);
  };
  if (redirects[0] === undefined) {
    restore();
    return undefined;
  }
  return { mapped, restore };
}

function inodeOf(stat: fs.Stats): string {
  return `${stat.dev}:${stat.ino}`;
}
