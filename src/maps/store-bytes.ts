/**
 * A store as bytes: magic, version, length of the header, a JSON header, the rows in the store's own encoding, and a SHA-256
 * of all that. Every length is checked before memory is taken and every value before a store is given out; where the bytes lie is
 * `save-store.ts`.
 */
import { createHash } from "node:crypto";
import { ExpertMapStore } from "./expert-map-store.ts";
import { type MapShape, NO_TOKEN } from "./map-shape.ts";
import { MapStoreFileError, type MapStoreFileErrorReason } from "./map-store-file-error.ts";
import { BYTES_PER_VALUE, MAP_ENCODINGS, type MapEncoding } from "./value-codes.ts";

/** What the model in use has; a store of another is refused. */
export interface ExpectedStore {
  readonly shape: MapShape;
  /** @default "softmax" */
  readonly normaliser?: string;
  /** Refused only when both hashes are known and differ. */
  readonly modelHash?: string | undefined;
  /** @default as it was saved */
  readonly prefetchDistance?: number;
  /** Not below the rows that were saved. @default as it was saved */
  readonly capacity?: number;
  /** @default false */
  readonly frozen?: boolean;
}

interface Header {
  readonly layers: number;
  readonly experts: number;
  readonly hiddenSize: number;
  readonly capacity: number;
  readonly size: number;
  readonly prefetchDistance: number;
  readonly encoding: MapEncoding;
  readonly normaliser: string;
  readonly modelHash: string | null;
}

const MAGIC = "WARMMAPS";
const VERSION = 1;
/** Magic, version, length of the header. */
const PREFIX_BYTES = 16;
const CHECKSUM_BYTES = 32;
/** It has nine short fields. */
const LONGEST_HEADER = 4096;
/** No model has more of anything; it keeps products of lying counts below 2^53. */
const LARGEST_COUNT = 2 ** 24;
/** Half precision and scales of single precision: a decoded row sums to 1 within this. */
const SUM_TOLERANCE = 1e-4;

export function encodeStore(store: ExpertMapStore): Uint8Array {
  const { shape, size, capacity, maps, embeddings } = store;
  const header: Header = {
    layers: shape.layers,
    experts: shape.experts,
    hiddenSize: shape.hiddenSize,
    capacity,
    size,
    prefetchDistance: store.prefetchDistance,
    encoding: store.encoding,
    normaliser: store.normaliser,
    modelHash: store.modelHash ?? null,
  };
  const text = Buffer.from(JSON.stringify(header));
  const prefix = Buffer.alloc(PREFIX_BYTES);
  prefix.write(MAGIC, 0, "latin1");
  prefix.writeUInt32LE(VERSION, 8);
  prefix.writeUInt32LE(text.length, 12);
  const parts: Uint8Array[] = [prefix, text, bytesOf(store.tokenIds.slice(0, size))];
  for (let layer = 0; layer < shape.layers; layer++)
    parts.push(maps.codes(layer * capacity, size), maps.scaleBytes(layer * capacity, size));
  parts.push(embeddings.codes(0, size), embeddings.scaleBytes(0, size));
  const body = Buffer.concat(parts);
  return Buffer.concat([body, createHash("sha256").update(body).digest()]);
}

/**
 * @param file named in errors
 * @throws MapStoreFileError
 */
export function decodeStore(bytes: Uint8Array, expected: ExpectedStore, file = "expert maps"): ExpertMapStore {
  const refuse = (reason: MapStoreFileErrorReason, sentence: string): never => {
    throw new MapStoreFileError(file, reason, sentence);
  };
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (buffer.length < PREFIX_BYTES || buffer.toString("latin1", 0, 8) !== MAGIC)
    refuse("not-a-map-store", "it is no file of expert maps. Name another, or remove it to begin with an empty store.");
  const version = buffer.readUInt32LE(8);
  if (version !== VERSION)
    refuse("unsupported-version", `its version is ${version}; this program reads ${VERSION}. Record the maps again.`);
  const headerBytes = buffer.readUInt32LE(12);
  const rowsAt = PREFIX_BYTES + headerBytes;
  if (headerBytes > LONGEST_HEADER)
    refuse("bad-header", `its header claims ${headerBytes} bytes. Record the maps again.`);
  if (rowsAt + CHECKSUM_BYTES > buffer.length)
    refuse("wrong-length", "it ends within its header. Record the maps again.");
  const header = parseHeader(buffer.toString("utf8", PREFIX_BYTES, rowsAt));
  if (typeof header === "string") return refuse("bad-header", `its header has ${header}. Record the maps again.`);
  const fileBytes = rowsAt + rowBytes(header) * header.size + CHECKSUM_BYTES;
  if (fileBytes !== buffer.length)
    refuse("wrong-length", `it has ${buffer.length} bytes where its header says ${fileBytes}. Record the maps again.`);
  const bodyBytes = buffer.length - CHECKSUM_BYTES;
  if (!createHash("sha256").update(buffer.subarray(0, bodyBytes)).digest().equals(buffer.subarray(bodyBytes)))
    refuse("bad-checksum", "its bytes are not those that were written. Record the maps again.");

  const { layers, experts, hiddenSize } = expected.shape;
  if (header.layers !== layers || header.experts !== experts || header.hiddenSize !== hiddenSize)
    refuse(
      "other-shape",
      `its maps are of ${header.layers} layers x ${header.experts} experts with embeddings of ${header.hiddenSize}, ` +
        `the model has ${layers} x ${experts} with ${hiddenSize}. Name the maps of this model.`,
    );
  const normaliser = expected.normaliser ?? "softmax";
  if (header.normaliser !== normaliser)
    refuse(
      "other-normaliser",
      `its distributions were made by ${header.normaliser}, this model's are by ${normaliser}.`,
    );
  if (header.modelHash !== null && expected.modelHash !== undefined && header.modelHash !== expected.modelHash)
    refuse(
      "other-model",
      `it is of the model ${header.modelHash}, not of ${expected.modelHash}. Name the maps of this model.`,
    );
  const capacity = expected.capacity ?? header.capacity;
  if (header.size > capacity)
    refuse("too-many-rows", `it has ${header.size} maps and the store holds ${capacity}. Raise the capacity.`);

  const options = {
    shape: expected.shape,
    capacity,
    prefetchDistance: expected.prefetchDistance ?? header.prefetchDistance,
    encoding: header.encoding,
    normaliser,
    modelHash: expected.modelHash ?? header.modelHash ?? undefined,
  };
  const store = new ExpertMapStore({ ...options, frozen: expected.frozen ?? false });
  const problem = readRows(buffer.subarray(rowsAt, bodyBytes), header, store);
  if (problem !== undefined) refuse("bad-row", `${problem}. Record the maps again.`);
  return store;
}

/** What is wrong with it, in words, when something is. */
function parseHeader(text: string): Header | string {
  let header: Partial<Record<keyof Header, unknown>>;
  try {
    header = JSON.parse(text) as typeof header;
  } catch {
    return "no JSON";
  }
  if (typeof header !== "object" || header === null) return "no fields";
  const counts = { layers: 1, experts: 1, hiddenSize: 0, capacity: 1, size: 0, prefetchDistance: 1 } as const;
  for (const [name, lowest] of Object.entries(counts)) {
    const value = header[name as keyof Header];
    if (!Number.isInteger(value) || (value as number) < lowest || (value as number) > LARGEST_COUNT)
      return `no sound ${name} (${value})`;
  }
  if (!MAP_ENCODINGS.includes(header.encoding as MapEncoding)) return `an unknown encoding (${header.encoding})`;
  if (typeof header.normaliser !== "string") return "no normaliser";
  if (header.modelHash !== null && typeof header.modelHash !== "string") return "no sound modelHash";
  if ((header.size as number) > (header.capacity as number)) return "more rows than capacity";
  return header as Header;
}

function rowBytes({ layers, experts, hiddenSize, encoding }: Header): number {
  const perValue = BYTES_PER_VALUE[encoding];
  const scales = encoding === "f32" ? 0 : 4 * (layers + (hiddenSize > 0 ? 1 : 0));
  return 4 + (layers * experts + hiddenSize) * perValue + scales;
}

/** Fills the empty store. What is wrong, in words, when something is. */
function readRows(rows: Buffer, { size }: Header, store: ExpertMapStore): string | undefined {
  const { layers, experts, hiddenSize } = store.shape;
  const { capacity, maps, embeddings } = store;
  let at = 0;
  const take = (target: Uint8Array) => {
    target.set(rows.subarray(at, at + target.length));
    at += target.length;
  };
  const tokenIds = new Int32Array(size);
  take(bytesOf(tokenIds));
  for (let layer = 0; layer < layers; layer++) {
    take(maps.codes(layer * capacity, size));
    take(maps.scaleBytes(layer * capacity, size));
  }
  take(embeddings.codes(0, size));
  take(embeddings.scaleBytes(0, size));

  const values = new Float32Array(Math.max(experts, hiddenSize));
  for (let row = 0; row < size; row++) {
    if (tokenIds[row] < NO_TOKEN) return `the token of map ${row} is ${tokenIds[row]}`;
    for (let layer = 0; layer < layers; layer++) {
      store.readRow(row, layer, values);
      let sum = 0;
      for (let j = 0; j < experts; j++) sum += values[j] >= 0 ? values[j] : Number.NaN;
      if (!(Math.abs(sum - 1) <= SUM_TOLERANCE)) return `layer ${layer} of map ${row} is no distribution`;
    }
    store.readEmbedding(row, values);
    for (let i = 0; i < hiddenSize; i++)
      if (!Number.isFinite(values[i])) return `the embedding of map ${row} is not finite`;
  }
  store.adoptRows(tokenIds);
  return undefined;
}

function bytesOf(numbers: Int32Array): Uint8Array {
  return new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength);
}
