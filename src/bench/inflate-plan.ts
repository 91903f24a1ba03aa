/**
 * How a small Mixture-of-Experts model becomes a large file that computes the same function: which tensors grow along
 * which axis, which weights are rescaled, which metadata changes. Pure: it looks at a header and moves no weights.
 *
 * The residual stream of width d becomes the first d of D dimensions, the others stay zero; of the F inner units of
 * an expert the first f are the old ones, the others stay zero. Root mean squares over D dimensions are sqrt(d/D) times
 * those over d, which the norms' weights and epsilon make good. D/d has to be a power of 4: then every
 * factor is a power of two, nothing is rounded, and llama.cpp's logits are equal to the last bit.
 */
import { type GgufFile, type GgufTensor, ggmlTypeTraits, tensorSize, UnsupportedModelError } from "../gguf/index.ts";

export interface InflationTarget {
  /** Residual width of the result (`embedding_length`): the old one times a power of 4. */
  readonly width: number;
  /** Inner width of its experts: at least the old one. */
  readonly innerWidth: number;
}

/** 6.91 GB from the shipped model: 256 experts of three 8.9 MB slices, and 75 MB of everything else. */
export const STANDARD_TARGET: InflationTarget = { width: 4096, innerWidth: 2048 };

export interface InflatedTensor {
  readonly source: GgufTensor;
  /** ne order, as in the result. */
  readonly shape: readonly number[];
  readonly bytes: number;
  /** Factor on the old weights; a power of two. */
  readonly scale: number;
  /**
   * What stands where the product is zero anyway, because the input is. `noise` in the experts: zeros could be
   * cheaper to read than weights (compressing file systems, thin volumes), and they are nearly all of the file.
   */
  readonly padding: "zero" | "noise";
}

export interface InflationPlan {
  readonly target: InflationTarget;
  readonly tensors: readonly InflatedTensor[];
  /** Metadata that differs from the source; each key exists there and keeps its type. */
  readonly metadata: ReadonlyMap<string, number>;
  /** Bytes of all tensors; the header comes on top. */
  readonly tensorBytes: number;
}

type Axis = "width" | "inner" | "kept";

/** Axes (ne order) of every tensor of `qwen3moe` (llama.cpp src/models/qwen3moe.cpp, `load_arch_tensors`). */
const AXES: Readonly<Record<string, readonly Axis[]>> = {
  token_embd: ["width", "kept"],
  output: ["width", "kept"],
  output_norm: ["width"],
  attn_norm: ["width"],
  attn_q: ["width", "kept"],
  attn_k: ["width", "kept"],
  attn_v: ["width", "kept"],
  attn_q_norm: ["kept"],
  attn_k_norm: ["kept"],
  attn_output: ["kept", "width"],
  ffn_norm: ["width"],
  ffn_gate_inp: ["width", "kept"],
  ffn_gate_exps: ["width", "inner", "kept"],
  ffn_up_exps: ["width", "inner", "kept"],
  ffn_down_exps: ["inner", "width", "kept"],
};

const WIDTH_NORMS = new Set(["output_norm", "attn_norm", "ffn_norm"]);
/** Their own norms keep their size but share the epsilon, so their inputs shrink with it. */
const NORMED_PROJECTIONS = new Set(["attn_q", "attn_k"]);

/** Throws `UnsupportedModelError` for another architecture, `RangeError` for a target that does not fit the source. */
export function planInflation(source: GgufFile, target: InflationTarget): InflationPlan {
  const architecture = source.metadata.string("general.architecture");
  const unsupported = (found: string) =>
    new UnsupportedModelError(source.path, architecture, found, "Only qwen3moe models such as the demo model inflate.");
  if (architecture !== "qwen3moe") throw unsupported("its tensors are not known to the bench");

  // Without these keys llama.cpp takes a head for width / heads (llama-model.cpp, `load_hparams`), and heads must not grow.
  for (const key of ["qwen3moe.attention.key_length", "qwen3moe.attention.value_length"])
    if (!source.metadata.has(key)) throw unsupported(`it does not say ${key}`);

  const width = source.metadata.number("qwen3moe.embedding_length");
  const inner = source.metadata.number("qwen3moe.expert_feed_forward_length");
  const ratio = target.width / width;
  if (!Number.isInteger(Math.log2(ratio) / 2) || ratio < 1)
    throw new RangeError(
      `The width ${target.width} is not ${width} times a power of 4 (${width * 4}, ${width * 16}, ...)`,
    );
  if (!Number.isInteger(target.innerWidth) || target.innerWidth < inner)
    throw new RangeError(`The inner width ${target.innerWidth} is less than the ${inner} units that the experts have`);

  const tensors = source.tensors.map((tensor): InflatedTensor => {
    const name = tensor.name.replace(/^blk\.\d+\./, "").replace(/\.weight$/, "");
    const axes = AXES[name];
    if (axes === undefined || axes.length !== tensor.shape.length)
      throw unsupported(`it has the tensor ${tensor.name}`);
    const shape = axes.map((axis, i) => {
      if (axis === "kept") return tensor.shape[i];
      if (tensor.shape[i] !== (axis === "width" ? width : inner))
        throw unsupported(`${tensor.name} has the shape [${tensor.shape.join(", ")}]`);
      return axis === "width" ? target.width : target.innerWidth;
    });
    const size = tensorSize(tensor.type, shape);
    if ("problem" in size)
      throw new RangeError(`${tensor.name} (${ggmlTypeTraits(tensor.type).name}) cannot grow: ${size.problem}`);
    return {
      source: tensor,
      shape,
      bytes: size.bytes,
      scale: WIDTH_NORMS.has(name) || NORMED_PROJECTIONS.has(name) ? Math.sqrt(1 / ratio) : 1,
      padding: name.endsWith("_exps") ? "noise" : "zero",
    };
  });

  const epsilon = "qwen3moe.attention.layer_norm_rms_epsilon";
  const metadata = new Map([
    ["qwen3moe.embedding_length", target.width],
    ["qwen3moe.expert_feed_forward_length", target.innerWidth],
    [epsilon, source.metadata.number(epsilon) / ratio],
  ]);
  return { target, tensors, metadata, tensorBytes: tensors.reduce((sum, { bytes }) => sum + bytes, 0) };
}
