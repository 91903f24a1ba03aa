/**
 * Writes the inflated model of an `InflationPlan`, and keeps it: the standard one has 6.9 GB and takes a minute, so it
 * lies in a cache folder outside the repository, under a name made of everything that decides its bytes.
 */
import { createHash } from "node:crypto";
import { createReadStream, existsSync } from "node:fs";
import { mkdir, statfs } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import type { WriteProgress } from "../gguf/index.ts";
import { copyMetadata, type GgufFile, openGguf, readTensor, type TensorSource, writeGguf } from "../gguf/index.ts";
import { type InflatedTensor, type InflationTarget, planInflation, STANDARD_TARGET } from "./inflate-plan.ts";
import { NoiseBlocks, writePaddedMatrix } from "./padded-matrix.ts";

/** Counts what changes the bytes of a result: an older cached file is then not found any more. */
const FORMAT = 1;

export interface InflateOptions {
  /** Default: nobody is told. */
  readonly onProgress?: (progress: WriteProgress) => void;
  /** Ends the writing and removes what was written. Default: runs to the end. */
  readonly signal?: AbortSignal;
}

export interface InflatedModelOptions extends InflateOptions {
  /** @default STANDARD_TARGET, 6.9 GB from the shipped model */
  readonly target?: InflationTarget;
  /** Where the result is kept. @default WARMSET_BENCH_DIR, else ~/.cache/warmset/bench */
  readonly folder?: string;
}

/** The disk has no room for the inflated model. */
export class NoRoomToInflateError extends Error {
  override readonly name = "NoRoomToInflateError";
  readonly folder: string;
  readonly neededBytes: number;
  readonly freeBytes: number;

  constructor(folder: string, neededBytes: number, freeBytes: number) {
    super(
      `The inflated model needs ${neededBytes} bytes, but ${folder} has only ${freeBytes} free. ` +
        "Name another folder in WARMSET_BENCH_DIR.",
    );
    this.folder = folder;
    this.neededBytes = neededBytes;
    this.freeBytes = freeBytes;
  }
}

export function benchFolder(environment: NodeJS.ProcessEnv = process.env): string {
  return environment.WARMSET_BENCH_DIR ?? path.join(os.homedir(), ".cache", "warmset", "bench");
}

/** Path of the inflated form of a model, written first if it is not there yet. */
export async function inflatedModel(sourcePath: string, options: InflatedModelOptions = {}): Promise<string> {
  const { target = STANDARD_TARGET, folder = benchFolder(), ...inflateOptions } = options;
  const hash = await fileHash(sourcePath);
  const name = path.basename(sourcePath, ".gguf");
  const key = `w${target.width}-i${target.innerWidth}-v${FORMAT}-${hash.slice(0, 12)}`;
  const destination = path.join(folder, `${name}-${key}.gguf`);
  // Written under another name and renamed, so a file with this name is whole.
  if (existsSync(destination)) return destination;

  const source = openGguf(sourcePath);
  await mkdir(folder, { recursive: true });
  const { tensorBytes } = planInflation(source, target);
  const { bavail, bsize } = await statfs(folder);
  if (bavail * bsize < tensorBytes) throw new NoRoomToInflateError(folder, tensorBytes, bavail * bsize);
  await writeInflated(source, destination, target, inflateOptions);
  return destination;
}

/** Writes the inflated form of an opened model to `destination`. At most one expert's matrix is in memory at a time. */
export async function writeInflated(
  source: GgufFile,
  destination: string,
  target: InflationTarget,
  options: InflateOptions = {},
): Promise<void> {
  const plan = planInflation(source, target);
  const entries = copyMetadata(source).map((entry) => {
    const value = plan.metadata.get(entry.key);
    const type = source.metadata.locate(entry.key)?.type;
    if (value === undefined) return entry;
    if (type !== "u32" && type !== "f32") throw new RangeError(`${entry.key} is ${type}, not u32 or f32`);
    return { key: entry.key, type, value };
  });
  const tensors = plan.tensors.map(
    (tensor, index): TensorSource => ({
      name: tensor.source.name,
      type: tensor.source.type,
      shape: tensor.shape,
      data: () => inflatedMatrices(source, tensor, index),
    }),
  );
  await writeGguf(destination, { metadata: entries, tensors, alignment: source.alignment }, options);
}

/** One piece for each matrix of the tensor (each expert); the buffer is the same every time. */
function* inflatedMatrices(
  gguf: GgufFile,
  tensor: InflatedTensor,
  seed: number,
): Generator<Uint8Array, void, undefined> {
  const { source, shape, bytes, scale, padding } = tensor;
  const [fromColumns = 1, fromRows = 1, matrices = 1] = source.shape;
  const [columns = 1, rows = 1] = shape;
  const noise = padding === "noise" ? new NoiseBlocks(source.type, seed) : undefined;
  const inflated = new Uint8Array(bytes / matrices);
  for (let m = 0; m < matrices; m++) {
    const range = { offset: (m * source.bytes) / matrices, bytes: source.bytes / matrices };
    writePaddedMatrix(readTensor(gguf, source, range), inflated, {
      type: source.type,
      from: { columns: fromColumns, rows: fromRows },
      to: { columns, rows },
      scale,
      noise,
    });
    yield inflated;
  }
}

async function fileHash(file: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(file)) hash.update(chunk);
  return hash.digest("hex");
}
