/**
 * The inputs of a model's routers, token by token, on disk by layer: tuning reads one layer at a time, and a model's inputs
 * are larger than memory. The files have no name any more when they are written, so that nothing is left of them however
 * the process ends. Where the inputs come from is the caller's business; `captureTrace` takes them from a recorded trace.
 */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { formatBytes } from "../number-text.ts";
import { NO_ID, type TraceSource } from "../trace/trace.ts";
import { TuneError } from "./errors.ts";

/** Consecutive tokens that belong together; a sample of a trace. */
export interface InputDocument {
  /** Row of its first token. */
  readonly first: number;
  readonly tokens: number;
  /** Such as "code". */
  readonly domain: string;
}

/** What is needed to read the inputs, also in another thread: file descriptors belong to the process. */
export interface InputFiles {
  /** By MoE layer. */
  readonly descriptors: readonly number[];
  readonly width: number;
  readonly documents: readonly InputDocument[];
  /** `[tokens]` PREFILL or DECODE. */
  readonly phases: Uint8Array;
}

/** Some documents of one layer, one after the other. */
export interface LayerInputs {
  readonly tokens: number;
  readonly width: number;
  /** `[tokens][width]` */
  readonly hidden: Float32Array;
  /** `[tokens]` number of the document. */
  readonly documents: Int32Array;
  /** `[tokens]` PREFILL or DECODE. */
  readonly phases: Uint8Array;
}

export interface CapturedInputsOptions {
  /** MoE layers. */
  readonly layers: number;
  /** Floats of a router's input. */
  readonly width: number;
  /** Where the files are; 4 bytes x width x tokens x layers of disk. @default the system's directory for temporary files */
  readonly directory?: string;
  /** Tokens that will be appended: without the room for them nothing is begun. @default not known, nothing is checked */
  readonly tokens?: number;
}

export interface InputsRoom {
  readonly directory: string;
  readonly neededBytes: number;
  readonly freeBytes: number;
  /** The folder is in memory: what lies there is beside any budget. */
  readonly isMemory: boolean;
}

/** statfs(2) */
const TMPFS_MAGIC = 0x01021994;

/** What the inputs of so many tokens take, and what there is. */
export function inputsRoom(
  { layers, width, directory = os.tmpdir() }: CapturedInputsOptions,
  tokens: number,
): InputsRoom {
  const { bavail, bsize, type } = fs.statfsSync(directory);
  const neededBytes = 4 * width * tokens * layers;
  return { directory, neededBytes, freeBytes: bavail * bsize, isMemory: type === TMPFS_MAGIC };
}

export class CapturedInputs {
  readonly layers: number;
  readonly width: number;
  readonly #descriptors: number[] = [];
  readonly #documents: InputDocument[] = [];
  readonly #phases: Uint8Array[] = [];
  #tokens = 0;
  /** Of the document that is being appended. */
  #begun = 0;

  /** @throws TuneError `too-little-disk` */
  constructor(options: CapturedInputsOptions) {
    const { layers, width, directory = os.tmpdir(), tokens } = options;
    if (tokens !== undefined) requireRoom(inputsRoom(options, tokens), tokens);
    this.layers = layers;
    this.width = width;
    const folder = fs.mkdtempSync(path.join(directory, "router-inputs-"));
    try {
      for (let layer = 0; layer < layers; layer++)
        this.#descriptors.push(fs.openSync(path.join(folder, `${layer}`), "wx+", 0o600));
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    } finally {
      fs.rmSync(folder, { recursive: true });
    }
  }

  get tokens(): number {
    return this.#tokens;
  }

  get documents(): readonly InputDocument[] {
    return this.#documents;
  }

  /** The same for worker threads. Valid while nothing is appended and this is not disposed. */
  get files(): InputFiles {
    const phases = new Uint8Array(this.#tokens);
    for (const [i, { first }] of this.#documents.entries()) phases.set(this.#phases[i], first);
    return { descriptors: this.#descriptors, width: this.width, documents: this.#documents, phases };
  }

  /** A whole document. @param hidden `[tokens][layers][width]`, as traces have it */
  append(phases: Uint8Array, domain: string, hidden: Float32Array): void {
    this.extend(hidden, phases.length);
    this.endDocument(phases, domain);
  }

  /** The next tokens of a document: a long one in a wide model is too large to be put together. @param hidden as in `append` */
  extend(hidden: Float32Array, tokens: number): void {
    const { layers, width } = this;
    if (hidden.length !== tokens * layers * width)
      throw new RangeError(`${hidden.length} numbers are not ${tokens} tokens of ${layers} layers of ${width}`);
    const own = new Float32Array(tokens * width);
    for (const [layer, descriptor] of this.#descriptors.entries()) {
      for (let t = 0; t < tokens; t++) {
        const at = (t * layers + layer) * width;
        own.set(hidden.subarray(at, at + width), t * width);
      }
      writeAll(descriptor, new Uint8Array(own.buffer), 4 * (this.#tokens + this.#begun) * width);
    }
    this.#begun += tokens;
  }

  /** What was extended since the last document is one. */
  endDocument(phases: Uint8Array, domain: string): void {
    const tokens = phases.length;
    if (tokens !== this.#begun) throw new RangeError(`${tokens} phases are not of ${this.#begun} tokens`);
    this.#begun = 0;
    this.#documents.push({ first: this.#tokens, tokens, domain });
    this.#phases.push(phases.slice());
    this.#tokens += tokens;
  }

  [Symbol.dispose](): void {
    for (const descriptor of this.#descriptors.splice(0)) fs.closeSync(descriptor);
  }
}

/** Documents of one layer, in memory: 4 bytes x width of each token. @param documents their numbers, in the order wanted */
export function readLayerInputs(
  { descriptors, width, documents, phases }: InputFiles,
  layer: number,
  wanted: readonly number[],
): LayerInputs {
  const tokens = wanted.reduce((sum, document) => sum + documents[document].tokens, 0);
  const hidden = new Float32Array(tokens * width);
  const inputs = { tokens, width, hidden, documents: new Int32Array(tokens), phases: new Uint8Array(tokens) };
  let row = 0;
  for (const document of wanted) {
    const { first, tokens: count } = documents[document];
    readAll(descriptors[layer], new Uint8Array(hidden.buffer, 4 * row * width, 4 * count * width), 4 * first * width);
    inputs.documents.fill(document, row, row + count);
    inputs.phases.set(phases.subarray(first, first + count), row);
    row += count;
  }
  return inputs;
}

export interface CaptureTraceOptions extends Pick<CapturedInputsOptions, "directory"> {
  readonly signal?: AbortSignal | undefined;
  /** Called after each sample with the tokens so far and in all. */
  readonly onProgress?: ((tokens: number, of: number) => void) | undefined;
}

/** All samples of a trace, which become documents in its order. @throws TraceError, also when it has no router inputs; TuneError */
export async function captureTrace(
  source: TraceSource,
  { directory, signal, onProgress }: CaptureTraceOptions = {},
): Promise<CapturedInputs> {
  const { model, columns } = source.description;
  const layers = model.moeBlocks.length;
  const all = source.parts.reduce((sum, { tokens }) => sum + tokens, 0);
  const inputs = new CapturedInputs({
    ...{ layers, width: columns.hiddenWidth, tokens: all },
    ...(directory && { directory }),
  });
  try {
    for (const { index } of source.parts)
      for await (const { sample, domain, phases, experts, hidden } of source.samples(index, { hidden: true })) {
        signal?.throwIfAborted();
        for (let at = 0; at < experts.length; at += model.expertsUsed)
          if (experts[at] === NO_ID)
            throw new TuneError(
              "too-little-data",
              `Sample ${sample} of the trace of ${model.name} has tokens that not all routers saw. Record it again with this version.`,
            );
        inputs.append(phases, domain, hidden as Float32Array);
        onProgress?.(inputs.tokens, all);
      }
    return inputs;
  } catch (error) {
    inputs[Symbol.dispose]();
    throw error;
  }
}

function requireRoom({ directory, neededBytes, freeBytes }: InputsRoom, tokens: number): void {
  if (neededBytes <= freeBytes) return;
  throw new TuneError(
    "too-little-disk",
    `The routers' inputs of ${tokens.toLocaleString("en-US")} tokens take ${formatBytes(neededBytes)}, and ${directory} has ${formatBytes(freeBytes)} free. Set TMPDIR to a folder on a larger drive, or tune on less text (--samples).`,
  );
}

/** One call may write or read less than all, and 2 GiB at most. */
function writeAll(descriptor: number, bytes: Uint8Array, position: number): void {
  for (let done = 0; done < bytes.length; )
    done += fs.writeSync(descriptor, bytes, done, Math.min(PIECE_BYTES, bytes.length - done), position + done);
}

function readAll(descriptor: number, into: Uint8Array, position: number): void {
  for (let done = 0; done < into.length; ) {
    const bytes = fs.readSync(descriptor, into, done, Math.min(PIECE_BYTES, into.length - done), position + done);
    if (bytes === 0) throw new Error("The file of captured router inputs is shorter than what was written to it.");
    done += bytes;
  }
}

const PIECE_BYTES = 2 ** 30;
