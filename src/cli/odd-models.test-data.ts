/** Model files that must be refused, each in its own way, written into a folder for the tests of exit codes. */
import { writeFileSync } from "node:fs";
import path from "node:path";
import { GgmlType, type MetadataEntry, writeGguf } from "../gguf/index.ts";

export interface OddModels {
  /** Sound, but without experts. */
  readonly dense: string;
  /** Has experts, but no architecture that llama.cpp knows. */
  readonly unknownArchitecture: string;
  readonly notGguf: string;
}

export async function writeOddModels(folder: string): Promise<OddModels> {
  const dense = path.join(folder, "dense.gguf");
  await writeGguf(dense, {
    metadata: [{ key: "general.architecture", type: "string", value: "llama" }],
    tensors: [{ name: "token_embd.weight", type: GgmlType.F32, shape: [4, 2], data: new Uint8Array(32) }],
  });
  const unknownArchitecture = path.join(folder, "unknown-architecture.gguf");
  const numbers: Readonly<Record<string, number>> = {
    block_count: 1,
    expert_count: 2,
    expert_used_count: 1,
    embedding_length: 4,
  };
  await writeGguf(unknownArchitecture, {
    metadata: [
      { key: "general.architecture", type: "string", value: "nosuch" },
      ...Object.entries(numbers).map(([name, value]): MetadataEntry => ({ key: `nosuch.${name}`, type: "u32", value })),
    ],
    tensors: ["gate", "up", "down"].map((role) => ({
      name: `blk.0.ffn_${role}_exps.weight`,
      type: GgmlType.F32,
      shape: [4, 4, 2],
      data: new Uint8Array(128),
    })),
  });
  const notGguf = path.join(folder, "notes.txt");
  writeFileSync(notGguf, "These are notes, not weights.\n");
  return { dense, unknownArchitecture, notGguf };
}
