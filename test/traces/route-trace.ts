/**
 * Reads the recorded traces of this folder into what the cache is driven with. For tests only: it trusts the files.
 */
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import type { RecordedIteration } from "../../src/cache/replay.test-data.ts";
import type { ModelShape } from "../../src/cache/shape.ts";

export interface RouteTrace {
  readonly shape: ModelShape;
  readonly iterations: readonly RecordedIteration[];
}

interface Rows {
  readonly experts: number[];
  readonly weights: number[];
}

export function readRouteTrace(name: "qwen" | "gemma" | "gptoss"): RouteTrace {
  const csv = gunzipSync(readFileSync(new URL(`./${name}.route.csv.gz`, import.meta.url))).toString("utf8");
  const header = /n_layer=(\d+) n_expert=(\d+) n_expert_used=(\d+)/.exec(csv);
  if (header === null) throw new Error(`${name}: no shape in the header`);
  const [layers = 0, experts = 0, expertsUsed = 0] = header.slice(1).map(Number);
  const expertBytes = [...csv.matchAll(/^# layer=\d+ expert_bytes=(\d+)/gm)].map((line) => Number(line[1]));

  // The whole prompt is one iteration, whatever its steps are.
  const iterations = new Map<string, Rows[]>();
  for (const line of csv.split("\n")) {
    if (!/^\d/.test(line)) continue;
    const [turn, phase, step, layer = 0, , expert = 0, weight = 0] = line.split(",").map(Number);
    const id = phase === 0 ? `prefill ${turn}` : `decode ${turn} ${step}`;
    let rows = iterations.get(id);
    if (rows === undefined) {
      rows = Array.from({ length: layers }, () => ({ experts: [], weights: [] }));
      iterations.set(id, rows);
    }
    rows[layer]?.experts.push(expert);
    rows[layer]?.weights.push(weight);
  }
  return {
    shape: { layers, experts, expertsUsed, expertBytes },
    iterations: [...iterations].map(([id, rows]) => ({
      phase: id.startsWith("prefill") ? "prefill" : "decode",
      stops: rows.map(({ experts: chosen, weights }, layer) => ({
        layer,
        tokens: chosen.length / expertsUsed,
        experts: Int32Array.from(chosen),
        weights: Float32Array.from(weights),
        distinct: Int32Array.from(new Set(chosen), (expert) => layer * experts + expert),
      })),
    })),
  };
}
