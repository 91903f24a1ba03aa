/**
 * Splits a model into shards as llama.cpp's gguf-split does: all metadata in the first shard, and in each the three
 * `split.*` keys with the same types. Tensors are copied as they are, in order, in bounded memory.
 */
import fs from "node:fs/promises";
import { GgufError } from "./errors.ts";
import { alignUp } from "./header.ts";
import { MAX_SHARDS } from "./limits.ts";
import { copyMetadata, type MetadataEntry } from "./metadata-entry.ts";
import { type GgufTensor, openGguf, SPLIT_COUNT_KEY, SPLIT_NO_KEY, SPLIT_TENSORS_KEY, shardPath } from "./open.ts";
import { copyTensor } from "./tensor-data.ts";
import { type WriteGgufOptions, writeGguf } from "./write.ts";

export type ShardLimit =
  /** A new shard after each so many tensors. */
  | { readonly maxTensorsPerShard: number }
  /** A new shard when tensor data would pass so many bytes; a larger tensor gets a shard of its own. */
  | { readonly maxShardBytes: number };

/**
 * Writes `outPrefix-00001-of-0000N.gguf` and so on, and answers their paths. On an error or abort the shards that were
 * already written are removed.
 * @throws GgufError as `openGguf` and `writeGguf` do.
 */
export async function splitGguf(
  input: string,
  outPrefix: string,
  limit: ShardLimit,
  options: WriteGgufOptions = {},
): Promise<string[]> {
  const gguf = openGguf(input);
  const groups = shardGroups(gguf.tensors, gguf.alignment, limit);
  if (groups.length > MAX_SHARDS)
    throw new GgufError(
      "bad-split",
      outPrefix,
      undefined,
      `${groups.length} shards are more than the ${MAX_SHARDS} that are read. Make them larger.`,
    );
  const totalBytes = gguf.tensors.reduce((sum, { bytes }) => sum + bytes, 0);
  const paths: string[] = [];
  let doneBytes = 0;
  try {
    for (const [shard, tensors] of groups.entries()) {
      const path = shardPath(outPrefix, shard, groups.length);
      const splitKeys: MetadataEntry[] = [
        { key: SPLIT_NO_KEY, type: "u16", value: shard },
        { key: SPLIT_COUNT_KEY, type: "u16", value: groups.length },
        { key: SPLIT_TENSORS_KEY, type: "i32", value: gguf.tensors.length },
      ];
      await writeGguf(
        path,
        {
          metadata: [...(shard === 0 ? copyMetadata(gguf) : []), ...splitKeys],
          tensors: tensors.map((tensor) => copyTensor(gguf, tensor)),
          alignment: gguf.alignment,
        },
        {
          ...options,
          onProgress: ({ writtenBytes }) =>
            options.onProgress?.({ writtenBytes: doneBytes + writtenBytes, totalBytes }),
        },
      );
      paths.push(path);
      doneBytes += tensors.reduce((sum, { bytes }) => sum + bytes, 0);
    }
  } catch (error) {
    for (const path of paths) await fs.rm(path, { force: true });
    throw error;
  }
  return paths;
}

function shardGroups(tensors: readonly GgufTensor[], alignment: number, limit: ShardLimit): GgufTensor[][] {
  const groups: GgufTensor[][] = [[]];
  let groupBytes = 0;
  for (const tensor of tensors) {
    const bytes = alignUp(tensor.bytes, alignment);
    const group = groups[groups.length - 1];
    const full =
      "maxTensorsPerShard" in limit
        ? group.length >= limit.maxTensorsPerShard
        : groupBytes + bytes > limit.maxShardBytes;
    if (full && group.length > 0) {
      groups.push([tensor]);
      groupBytes = bytes;
    } else {
      group.push(tensor);
      groupBytes += bytes;
    }
  }
  return groups;
}
