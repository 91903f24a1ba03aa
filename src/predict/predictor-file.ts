/**
 * A predictor as a file: GGUF, with what it was trained for and how well it does as metadata and its matrices as tensors.
 * Written whole or not at all. What is read comes from strangers, so every number is held against the others before it
 * sizes anything, and a predictor of another model is refused.
 */
import { GgmlType, type GgufFile, type MetadataEntry, openGguf, readFloats, writeGguf } from "../gguf/index.ts";
import { PredictorError } from "./errors.ts";
import {
  type HeadRecall,
  headPlaces,
  PREDICTOR_KINDS,
  type PredictorHead,
  type PredictorKind,
  type RouterPredictor,
} from "./router-predictor.ts";

/** `general.architecture` of the file, so that no program takes it for a model. */
const ARCHITECTURE = "warmset-predictor";
const VERSION = 1;
const PREFIX = ARCHITECTURE;

/** Beyond every model that llama.cpp loads (`gguf/limits.ts`); a wider file could only serve to take memory. */
const LIMITS = { layers: 512, experts: 1024, expertsUsed: 1024, hiddenSize: 65_536, width: 65_536 } as const;

const RECALLS = ["predictor", "nextGate", "popularity", "previousToken"] as const;

/** @throws GgufError `unwritable`, or the signal's reason */
export async function savePredictor(path: string, predictor: RouterPredictor, signal?: AbortSignal): Promise<void> {
  const { model, kind, width, stride, window, heads, recall, trainingMs } = predictor;
  const u32 = (key: string, value: number): MetadataEntry => ({ key: `${PREFIX}.${key}`, type: "u32", value });
  const metadata: MetadataEntry[] = [
    { key: "general.architecture", type: "string", value: ARCHITECTURE },
    { key: "general.name", type: "string", value: `routing of ${model.name}` },
    u32("version", VERSION),
    { key: `${PREFIX}.kind`, type: "string", value: kind },
    { key: `${PREFIX}.model.name`, type: "string", value: model.name },
    { key: `${PREFIX}.model.hash`, type: "string", value: model.hash },
    { key: `${PREFIX}.tokenizer.hash`, type: "string", value: model.tokenizerHash ?? "" },
    u32("layers", model.layers),
    u32("experts", model.experts),
    u32("experts_used", model.expertsUsed),
    u32("hidden_size", model.hiddenSize),
    u32("width", width),
    u32("stride", stride),
    u32("window", window),
    { key: `${PREFIX}.training_ms`, type: "f64", value: trainingMs },
    { key: `${PREFIX}.recall.tokens`, type: "u32[]", value: recall.map(({ tokens }) => tokens) },
    ...RECALLS.map(
      (name): MetadataEntry => ({
        key: `${PREFIX}.recall.${name}`,
        type: "f32[]",
        value: recall.map((figures) => figures[name]),
      }),
    ),
  ];
  const tensors = heads.flatMap((head) =>
    matricesOf(predictor, head).map(({ name, shape, values }) => ({
      name,
      type: GgmlType.F32,
      shape,
      data: new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
    })),
  );
  await writeGguf(path, { metadata, tensors }, signal === undefined ? {} : { signal });
}

/**
 * @param modelHash of the model that it is to be used with; undefined: whichever it is of
 * @throws PredictorError `not-a-predictor`, `damaged`, `wrong-model`; GgufError for what is no sound GGUF file
 */
export function loadPredictor(path: string, modelHash?: string): RouterPredictor {
  const gguf = openGguf(path);
  const { metadata } = gguf;
  const architecture = metadata.optionalString("general.architecture");
  if (architecture !== ARCHITECTURE)
    throw new PredictorError(
      "not-a-predictor",
      `${path} holds ${architecture === undefined ? "no architecture" : `a ${architecture}`}, not a predictor. Make one with warmset train-predictor.`,
    );
  const version = metadata.number(`${PREFIX}.version`);
  if (version !== VERSION)
    throw new PredictorError(
      "not-a-predictor",
      `${path} has version ${version} of the format; this program reads ${VERSION}. Train it again.`,
    );
  const damaged = (problem: string) => new PredictorError("damaged", `${path}: ${problem}. Train it again.`);
  const whole = (key: string, smallest: number, largest: number): number => {
    const value = metadata.number(`${PREFIX}.${key}`);
    if (!Number.isInteger(value) || value < smallest || value > largest)
      throw damaged(`${key} is ${value}, not a whole number from ${smallest} to ${largest}`);
    return value;
  };
  const kind = PREDICTOR_KINDS.find((known) => known === metadata.string(`${PREFIX}.kind`));
  if (kind === undefined) throw damaged(`its kind is none of ${PREDICTOR_KINDS.join(", ")}`);
  const experts = whole("experts", 1, LIMITS.experts);
  const layers = whole("layers", 2, LIMITS.layers);
  const model = {
    name: metadata.string(`${PREFIX}.model.name`),
    hash: metadata.string(`${PREFIX}.model.hash`),
    tokenizerHash: metadata.string(`${PREFIX}.tokenizer.hash`) || null,
    layers,
    experts,
    expertsUsed: whole("experts_used", 1, experts),
    hiddenSize: whole("hidden_size", 1, LIMITS.hiddenSize),
  };
  if (modelHash !== undefined && modelHash !== model.hash)
    throw new PredictorError(
      "wrong-model",
      `${path} was trained for ${model.name} (header ${model.hash.slice(0, 12)}), not for this model (header ${modelHash.slice(0, 12)}). Train one from a trace of this model.`,
    );
  const width = kind === "linear" ? whole("width", 0, 0) : whole("width", 1, LIMITS.width);
  const stride = whole("stride", 0, layers - 2);
  const window = whole("window", 1, layers - 1);
  const dimensions = { model, width };
  const places = headPlaces(layers, { stride, window });
  const heads = places.map(({ layer, distance }): PredictorHead => {
    const empty = { layer, distance, inner: width === 0 ? undefined : NOTHING, outer: NOTHING };
    const [first, second] = matricesOf(dimensions, empty).map((matrix) => readMatrix(gguf, matrix, damaged));
    return second === undefined ? { ...empty, outer: first } : { ...empty, inner: first, outer: second };
  });
  const expected = heads.length * (width === 0 ? 1 : 2);
  if (gguf.tensors.length !== expected) throw damaged(`it has ${gguf.tensors.length} matrices instead of ${expected}`);
  return {
    ...{ model, kind: kind satisfies PredictorKind, width, stride, window, heads },
    recall: readRecall(gguf, places, damaged),
    trainingMs: metadata.number(`${PREFIX}.training_ms`),
  };
}

const NOTHING = new Float32Array(0);

interface NamedMatrix {
  readonly name: string;
  /** ggml's order: columns, then rows. */
  readonly shape: readonly [number, number];
  readonly values: Float32Array;
}

/** What a head consists of, inner before outer. */
function matricesOf(
  { model: { experts, hiddenSize }, width }: Pick<RouterPredictor, "model" | "width">,
  { layer, distance, inner, outer }: PredictorHead,
): NamedMatrix[] {
  const name = (part: string) => `layer.${layer}.ahead.${distance}.${part}`;
  if (inner === undefined) return [{ name: name("outer"), shape: [hiddenSize + 1, experts], values: outer }];
  return [
    { name: name("inner"), shape: [hiddenSize + 1, width], values: inner },
    { name: name("outer"), shape: [width + 1, experts], values: outer },
  ];
}

function readMatrix(gguf: GgufFile, { name, shape }: NamedMatrix, damaged: (problem: string) => Error): Float32Array {
  const tensor = gguf.tensor(name);
  if (tensor === undefined) throw damaged(`the matrix ${name} is missing`);
  if (tensor.type !== GgmlType.F32 || tensor.shape.length !== 2 || shape.some((n, i) => n !== tensor.shape[i]))
    throw damaged(`${name} is ${tensor.typeName} [${tensor.shape.join(", ")}] instead of f32 [${shape.join(", ")}]`);
  const values = readFloats(gguf, tensor);
  if (!values.every(Number.isFinite)) throw damaged(`${name} has weights that are not numbers`);
  return values;
}

function readRecall(
  { metadata }: GgufFile,
  places: readonly { readonly layer: number; readonly distance: number }[],
  damaged: (problem: string) => Error,
): HeadRecall[] {
  const column = (name: string): number[] => {
    const values = metadata.numbers(`${PREFIX}.recall.${name}`);
    if (values.length !== places.length) throw damaged(`recall.${name} is not of ${places.length} heads`);
    return values;
  };
  const tokens = column("tokens");
  const [predictor, nextGate, popularity, previousToken] = RECALLS.map(column);
  return places.map((place, i) => ({
    ...place,
    tokens: tokens[i],
    predictor: predictor[i],
    nextGate: nextGate[i],
    popularity: popularity[i],
    previousToken: previousToken[i],
  }));
}
