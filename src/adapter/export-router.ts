/**
 * From any form of tuned routers to any other: LoRA adapter, safetensors file, or the model's own file patched in place.
 */
import { type BaseModel, readBaseModel } from "./base-model.ts";
import { writeLoraAdapter } from "./lora-file.ts";
import { patchModel, reversePatch, reversePatchPath, scaledGates } from "./patch-model.ts";
import type { PatchState } from "./patch-state.ts";
import type { RouterArtifact } from "./router-artifact.ts";
import { isGguf, readRouterFile } from "./router-file.ts";
import { isReversePatch, writeRouterSafetensors } from "./router-safetensors.ts";

export type ExportForm = "lora" | "safetensors" | "in-place";

export interface ExportRouterOptions {
  /** An adapter, a safetensors file, a model whose routers were tuned, or in place also a reverse patch. */
  readonly input: string;
  /** File to write; in place the model to patch. */
  readonly output: string;
  readonly form: ExportForm;
  /** The model that the routers were tuned for; in place it is `output`. */
  readonly model: string;
  /** W0 + scale (W - W0) is what is written. @default 1 */
  readonly scale?: number;
  /** Of an adapter, at most. @default exact */
  readonly rank?: number;
  /** Where the reverse patch goes, in place. @default beside the model, see `reversePatchPath` */
  readonly reversePath?: string;
  /** Called while an adapter of a smaller rank is worked out. @default nobody is told */
  readonly onProgress?: (layersDone: number, layersTotal: number) => void;
  readonly signal?: AbortSignal;
}

export interface ExportSummary {
  readonly form: ExportForm | "reversed";
  readonly method: string;
  readonly architecture: string;
  /** Layers with tuned routers. */
  readonly layers: number;
  readonly experts: number;
  /** Of an adapter. */
  readonly rank: number | undefined;
  /** Share of the change that an adapter of a smaller rank leaves out, in the worst layer. */
  readonly relativeError: number | undefined;
  /** Norm of the change over the norm of the base's gate, in the layer where it is largest. */
  readonly relativeChange: number | undefined;
  /** In place: what the model's file was before. */
  readonly before: PatchState | undefined;
  readonly reversePath: string | undefined;
}

/** @throws AdapterError, GgufError, UnsupportedModelError, TuneError `unsupported-router`, the signal's reason */
export async function exportRouter(options: ExportRouterOptions): Promise<ExportSummary> {
  const { input, output, form, scale = 1 } = options;
  if (form === "in-place") return exportInPlace(options);
  const base = readBaseModel(options.model);
  const artifact = scaled(base, readRouterFile(input, base), scale);
  const summary = { ...summaryOf(base, artifact), form };
  if (form === "safetensors") {
    await writeRouterSafetensors(output, artifact);
    return summary;
  }
  const { rank, onProgress, signal } = options;
  const written = await writeLoraAdapter(output, artifact, base, {
    ...(rank === undefined ? {} : { rank }),
    ...(onProgress === undefined ? {} : { onProgress }),
    ...(signal === undefined ? {} : { signal }),
  });
  return { ...summary, ...written };
}

async function exportInPlace({ input, output, scale = 1, reversePath }: ExportRouterOptions): Promise<ExportSummary> {
  const nothing = { rank: undefined, relativeError: undefined, relativeChange: undefined };
  const { architecture, experts } = readBaseModel(output);
  if (!isGguf(input) && isReversePatch(input)) {
    const { layers, before } = reversePatch(output, input);
    return { ...nothing, form: "reversed", method: "", architecture, layers, experts, before, reversePath: input };
  }
  const reverse = reversePath ?? reversePatchPath(output);
  const { layers, before } = await patchModel(output, input, { reversePath: reverse, scale });
  return { ...nothing, form: "in-place", method: "", architecture, layers, experts, before, reversePath: reverse };
}

function scaled(base: BaseModel, artifact: RouterArtifact, scale: number): RouterArtifact {
  if (scale === 1) return artifact;
  const { delta, report } = artifact;
  const gates = scaledGates(base, artifact, scale);
  return {
    delta: {
      ...delta,
      method: `${delta.method}, scale ${scale}`,
      layers: delta.layers.map((layer, i) => ({ ...layer, gate: gates[i].weights, bias: gates[i].bias })),
    },
    report: { scale, measuredAtScale1: report },
  };
}

function summaryOf(base: BaseModel, { delta }: RouterArtifact): Omit<ExportSummary, "form"> {
  const own = new Map(base.gates.map((gate) => [gate.block, gate.weights]));
  const changes = delta.layers.map(({ block, gate }) => {
    const from = own.get(block) as Float32Array;
    let [changed, all] = [0, 0];
    for (let i = 0; i < gate.length; i++) {
      changed += (gate[i] - from[i]) ** 2;
      all += from[i] ** 2;
    }
    return Math.sqrt(changed / all);
  });
  return {
    method: delta.method,
    architecture: delta.architecture,
    layers: delta.layers.length,
    experts: delta.experts,
    relativeChange: Math.max(...changes),
    rank: undefined,
    relativeError: undefined,
    before: undefined,
    reversePath: undefined,
  };
}
