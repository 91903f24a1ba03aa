/**
 * Opens a model: one GGUF file, or all shards of a split set given by any one of them. Reads headers only and keeps no
 * file open; the result is plain data that stays true as long as the files are not changed.
 */
import fs from "node:fs";
import nodePath from "node:path";
import { GgufError } from "./errors.ts";
import { openForReading } from "./file-range.ts";
import { type GgmlType, ggmlTypeTraits } from "./ggml-types.ts";
import { type GgufHeader, parseHeader } from "./header.ts";
import { HeaderCursor } from "./header-cursor.ts";
import { MAX_SHARDS } from "./limits.ts";
import { GgufMetadata } from "./metadata.ts";

export interface GgufShard {
  readonly path: string;
  readonly fileBytes: number;
  /** Where the tensor data starts; everything before it is header. */
  readonly dataOffset: number;
}

export interface GgufTensor {
  readonly name: string;
  readonly type: GgmlType;
  /** ggml's name of the type, such as `q8_0`. */
  readonly typeName: string;
  /** ggml's ne order: ne0, the length of a row, first. 0 to 4 lengths. */
  readonly shape: readonly number[];
  /** Index into `GgufFile.shards`. */
  readonly shard: number;
  /** Absolute byte offset in the shard's file. */
  readonly offset: number;
  readonly bytes: number;
}

export interface GgufFile {
  /** Absolute path that was opened (of a split set: the shard that was given). */
  readonly path: string;
  /** 2 or 3. */
  readonly version: number;
  /** Bytes to which tensors are aligned in the first shard. */
  readonly alignment: number;
  /** One for a single file. */
  readonly shards: readonly GgufShard[];
  readonly metadata: GgufMetadata;
  /** All tensors, shard by shard in the files' order. */
  readonly tensors: readonly GgufTensor[];
  tensor(name: string): GgufTensor | undefined;
  /** Sum over the shards. */
  readonly fileBytes: number;
}

export const SPLIT_NO_KEY = "split.no";
export const SPLIT_COUNT_KEY = "split.count";
export const SPLIT_TENSORS_KEY = "split.tensors.count";

interface ParsedFile {
  readonly path: string;
  readonly fileBytes: number;
  readonly header: GgufHeader;
  readonly metadata: GgufMetadata;
}

/** @throws GgufError, and nothing else, for whatever the path leads to. */
export function openGguf(path: string): GgufFile {
  const given = parseFile(nodePath.resolve(path));
  const count = given.metadata.optionalNumber(SPLIT_COUNT_KEY) ?? 0;
  const files = count > 1 ? openSplitSet(given, count) : [given];

  const byName = new Map<string, GgufTensor>();
  files.forEach(({ path: shardPath, header }, shard) => {
    for (const location of header.tensors) {
      if (byName.has(location.name))
        throw new GgufError(
          "duplicate-tensor",
          shardPath,
          undefined,
          `the tensor ${location.name} is in two shards. Download the set again.`,
        );
      byName.set(location.name, { ...location, typeName: ggmlTypeTraits(location.type).name, shard });
    }
  });
  if (count > 1) checkTensorCount(files[0], byName.size);

  return {
    path: given.path,
    version: files[0].header.version,
    alignment: files[0].header.alignment,
    shards: files.map(({ path, fileBytes, header }) => ({ path, fileBytes, dataOffset: header.dataOffset })),
    metadata: files[0].metadata,
    tensors: [...byName.values()],
    tensor: (name) => byName.get(name),
    fileBytes: files.reduce((sum, { fileBytes }) => sum + fileBytes, 0),
  };
}

/** File name of one shard as llama.cpp's gguf-split builds it: counted from 1, five digits. */
export function shardPath(prefix: string, shard: number, count: number): string {
  const digits = (n: number) => String(n).padStart(5, "0");
  return `${prefix}-${digits(shard + 1)}-of-${digits(count)}.gguf`;
}

function parseFile(path: string): ParsedFile {
  const fd = openForReading(path);
  try {
    const fileBytes = fs.fstatSync(fd).size;
    const header = parseHeader(new HeaderCursor(fd, path, fileBytes));
    return { path, fileBytes, header, metadata: new GgufMetadata(path, header.metadata) };
  } finally {
    fs.closeSync(fd);
  }
}

function openSplitSet(given: ParsedFile, count: number): ParsedFile[] {
  const index = given.metadata.number(SPLIT_NO_KEY);
  if (count > MAX_SHARDS || !Number.isInteger(count) || !Number.isInteger(index) || index < 0 || index >= count)
    throw badSplit(
      given.path,
      `it says it is shard ${index} (counted from 0) of ${count}, and at most ${MAX_SHARDS} are read`,
    );
  const ending = shardPath("", index, count);
  if (!given.path.endsWith(ending))
    throw badSplit(
      given.path,
      `it is one shard of a split set, so its name must end in ${ending}. Give the shards their names back`,
    );
  const prefix = given.path.slice(0, -ending.length);
  const paths = Array.from({ length: count }, (_, shard) => shardPath(prefix, shard, count));

  const missing = paths.filter((path) => !fs.existsSync(path));
  if (missing.length > 0)
    throw new GgufError(
      "missing-shard",
      given.path,
      undefined,
      `${missing.length} of the set's ${count} files are missing: ${listNames(missing)}. Put all shards into one folder.`,
    );

  return paths.map((path, shard) => {
    const file = shard === index ? given : parseFile(path);
    const shardNo = file.metadata.number(SPLIT_NO_KEY);
    const shardCount = file.metadata.number(SPLIT_COUNT_KEY);
    if (shardNo !== shard || shardCount !== count)
      throw badSplit(
        path,
        `it says it is shard ${shardNo} of ${shardCount} (counted from 0), but by its name it is ${shard} of ${count}`,
      );
    return file;
  });
}

function checkTensorCount(first: ParsedFile, found: number): void {
  const announced = first.metadata.number(SPLIT_TENSORS_KEY);
  if (announced !== found)
    throw badSplit(first.path, `the set should have ${announced} tensors, but its shards have ${found}`);
}

function badSplit(path: string, problem: string): GgufError {
  return new GgufError("bad-split", path, undefined, `${problem}. Download the whole set again if in doubt.`);
}

function listNames(paths: readonly string[]): string {
  const names = paths.slice(0, 5).map((path) => nodePath.basename(path));
  return names.join(", ") + (paths.length > names.length ? " and more" : "");
}
