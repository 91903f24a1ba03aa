/** Small traces and runs for tests: random routing with prompts and token ids, and rows with any figures. */
import { randomNumbers } from "../../cache/replay.test-data.ts";
import { emptyCounters } from "../../cache/statistics.ts";
import { computeByBytes } from "../../simulate/compute-model.ts";
import { plainDisk } from "../../simulate/disk-model.ts";
import type { MachineModel } from "../../simulate/machine-model.ts";
import { shapeOf } from "../../simulate/replay.ts";
import { describedTrace, sampleOf } from "../../simulate/traces.test-data.ts";
import { DECODE, PREFILL, type TraceSample } from "../../trace/trace.ts";
import type { RequestFigures, RunFigures } from "./figures.ts";
import type { RequestTrace } from "./request-trace.ts";

export const LAYERS = 3;
export const EXPERTS = 8;
export const USED = 2;
export const PROMPT = 4;
export const EXPERT_BYTES = 2 ** 20;
export const ALL_BYTES = LAYERS * EXPERTS * EXPERT_BYTES;

/** Requests with skewed routing: a prompt of 4 tokens in one pass, then decode steps. */
export function smallTrace(requests = 24, steps = 10): RequestTrace {
  const random = randomNumbers(requests * 1000 + steps);
  const samples = Array.from({ length: requests }, (_, sample): TraceSample => {
    const length = PROMPT + steps - (sample % 3);
    const choose = () => {
      const chosen = new Set<number>();
      while (chosen.size < USED) chosen.add(Math.floor(EXPERTS * random() ** 2));
      return [...chosen];
    };
    const probs = new Float32Array(length * LAYERS * EXPERTS).map(() => random());
    for (let row = 0; row < length * LAYERS; row++) {
      const own = probs.subarray(row * EXPERTS, (row + 1) * EXPERTS);
      const sum = own.reduce((total, value) => total + value, 0);
      own.forEach((value, i) => {
        own[i] = value / sum;
      });
    }
    return sampleOf(
      Array.from({ length }, () => Array.from({ length: LAYERS }, choose)),
      {
        ...{ sample, domain: `domain ${sample % 4}`, probs },
        phases: Uint8Array.from({ length }, (_, i) => (i < PROMPT ? PREFILL : DECODE)),
        batches: Uint32Array.from({ length }, (_, i) => Math.max(0, i - PROMPT + 1)),
        tokens: Int32Array.from({ length }, () => Math.floor(1000 * random())),
      },
    );
  });
  const description = describedTrace(
    { experts: EXPERTS, expertsUsed: USED, expertBytes: new Array<number>(LAYERS).fill(EXPERT_BYTES) },
    samples,
  );
  return {
    description,
    samples,
    signals: samples.map(() => ({ embeddings: undefined, embeddingWidth: 0, nextGate: undefined })),
    there: { tokens: true, hidden: false, embeddings: false, nextGate: false },
  };
}

export function smallMachine({ description }: RequestTrace): MachineModel {
  return {
    disk: plainDisk({ bytesPerSecond: 1e9, latencyMs: 0.1 }),
    compute: computeByBytes({ shape: shapeOf(description.model), denseBytes: 1e6 }, 2),
    engine: { msPerStop: 0.01, msPerHandover: 0.05, msPerRequest: 0.01 },
  };
}

/** A run of one policy in which each request takes the given time a token. */
export function runOf(policy: string, tpotMs: readonly number[], more: Partial<RunFigures> = {}): RunFigures {
  return {
    ...{ source: "simulated", mode: "online", policy, cacheBytes: ALL_BYTES / 4, bytesUnused: 0, mechanisms: {} },
    ...{ learns: false, driveBytesPerSecond: 1e9, policyMs: null },
    requests: tpotMs.map((ms, request) => requestOf(request, ms)),
    ...more,
  };
}

export function requestOf(request: number, ms: number, more: Partial<RequestFigures> = {}): RequestFigures {
  return {
    ...{ request, domain: "test", ttftMs: 10 * ms, stepMs: new Array<number>(8).fill(ms), decodeTokens: 8 },
    ...{ computeMs: 8, stallMs: 8 * (ms - 1), prefill: emptyCounters() },
    decode: { ...emptyCounters(), hits: 30, misses: 10, bytesDemanded: 10 * EXPERT_BYTES },
    ...more,
  };
}
