/** What one layer's tuning is, and doing it: pure computing on captured inputs, in whatever thread. */
import { type InputFiles, type LayerInputs, readLayerInputs } from "./captured-inputs.ts";
import type { Gate } from "./closed-form/slow-gate.ts";
import { type ClosedFormPlan, SlowLayers } from "./closed-form/slow-layer.ts";
import { type GateMetrics, gateMetrics, rowsOfPhase } from "./gate-metrics.ts";
import { GateProduct } from "./gate-product.ts";
import { type LocalPlan, type TunedLayer, tuneLayer } from "./local/tune-layer.ts";
import type { RouterRule } from "./router-forward.ts";

interface CommonTask {
  /** Index into the MoE layers. */
  readonly layer: number;
  /** The frozen gate. */
  readonly base: Gate;
  readonly rule: RouterRule;
  /** Documents to tune on. */
  readonly training: readonly number[];
  /** Documents to measure on; none: nothing is measured. */
  readonly heldOut: readonly number[];
  /** Measures tokens of this phase alone (PREFILL or DECODE); undefined: all tokens. */
  readonly measuredPhase: number | undefined;
}

/** Plain data: it goes to worker threads. */
export type LayerTask =
  | (CommonTask & { readonly mode: "local"; readonly start: Gate; readonly plan: LocalPlan })
  | (CommonTask & { readonly mode: "closed-form"; readonly plan: ClosedFormPlan });

export interface LayerResult {
  readonly layer: number;
  /** One of mode "local"; one for each mu of "closed-form". */
  readonly gates: readonly Gate[];
  /** Of each gate on the documents held out; undefined when there were none. */
  readonly metrics: readonly GateMetrics[] | undefined;
  /** Of the frozen gate. */
  readonly baseMetrics: GateMetrics | undefined;
  /** How training ended; undefined for "closed-form". */
  readonly tuned: Omit<TunedLayer, "gate"> | undefined;
}

/** What one thread does: task by task, all of one sweep and so of one plan. */
export class LayerTasks {
  readonly #files: InputFiles;
  #slow: SlowLayers | undefined;

  constructor(files: InputFiles) {
    this.#files = files;
  }

  /** @param onTokens called now and then with tokens worked on since the last call @throws TuneError */
  run(task: LayerTask, onTokens: (tokens: number) => void): LayerResult {
    const { layer, base, rule, training, heldOut } = task;
    let gates: readonly Gate[];
    let tuned: LayerResult["tuned"];
    if (task.mode === "closed-form") {
      this.#slow ??= new SlowLayers(this.#files, task.plan);
      gates = this.#slow.tune(layer, training, base, onTokens);
    } else {
      const inputs = readLayerInputs(this.#files, layer, training);
      const { gate, ...rest } = tuneLayer(inputs, base, task.start, rule, task.plan, onTokens);
      gates = [gate];
      tuned = rest;
    }
    if (heldOut.length === 0) return { layer, gates, metrics: undefined, baseMetrics: undefined, tuned };
    const inputs = measuredInputs(readLayerInputs(this.#files, layer, heldOut), task.measuredPhase);
    const [baseMetrics, ...metrics] = measureGates(inputs, base, [base, ...gates], rule);
    return { layer, gates, metrics, baseMetrics, tuned };
  }
}

/** Metrics of gates that might replace `base`, on inputs held in memory. */
export function measureGates(
  inputs: Pick<LayerInputs, "hidden" | "tokens" | "width" | "documents">,
  base: Gate,
  gates: readonly Gate[],
  rule: RouterRule,
): GateMetrics[] {
  const product = new GateProduct({ width: inputs.width, experts: rule.experts, batchTokens: BATCH_TOKENS });
  const logits = ({ weights, bias }: Gate) => {
    product.setGate(weights);
    return product.logits(inputs.hidden, inputs.tokens, bias);
  };
  const zBase = logits(base);
  return gates.map((gate) => gateMetrics(logits(gate), zBase, inputs, rule));
}

const BATCH_TOKENS = 512;

/** The tokens of one phase alone: the paper counts what is generated, with caches that start empty there. */
export function measuredInputs(inputs: LayerInputs, phase: number | undefined): LayerInputs {
  if (phase === undefined) return inputs;
  const { width } = inputs;
  const rows = rowsOfPhase(inputs.phases, phase);
  const hidden = new Float32Array(rows.length * width);
  for (const [i, row] of rows.entries()) hidden.set(inputs.hidden.subarray(row * width, (row + 1) * width), i * width);
  return {
    ...{ tokens: rows.length, width, hidden },
    documents: Int32Array.from(rows, (row) => inputs.documents[row]),
    phases: Uint8Array.from(rows, (row) => inputs.phases[row]),
  };
}
