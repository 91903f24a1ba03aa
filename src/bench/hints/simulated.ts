/**
 * Whether hints can pay, from recorded routing and without a drive: requests replayed through a policy with and without hints, with a
 * store that knows nothing, the like of them, or the very same (what no store can do better).
 */
import type { ModelShape } from "../../cache/shape.ts";
import { InlineLink } from "../../flash/hints/hint-link.ts";
import { HintedPolicy } from "../../flash/hints/hinted-policy.ts";
import { MemoryHints } from "../../flash/hints/memory-hints.ts";
import { BLOCK_TOKENS, HINT_BITS, type HintBits, SegmentCodec } from "../../flash/hints/segment-hint.ts";
import { openGguf, readMoeLayout, readRouterWeights } from "../../gguf/index.ts";
import { computeByBytes } from "../../simulate/compute-model.ts";
import { plainDisk } from "../../simulate/disk-model.ts";
import type { MachineModel } from "../../simulate/machine-model.ts";
import { replayPolicy } from "../../simulate/policies.ts";
import { Replay, type ReplayedPass, shapeOf } from "../../simulate/replay.ts";
import { type SampleSignals, SignalReader } from "../../simulate/sample-signals.ts";
import type { TraceDescription } from "../../trace/trace.ts";
import { DEMO_MODEL } from "../bench-model.ts";
import { observationsOf } from "./observations.ts";
import type { HintRequest, RecordedRequests } from "./requests.ts";

/** What a store knew before: nothing, requests like those that are measured, or those themselves. */
export type Knowledge = "off" | "nothing" | "alike" | "same";

export interface SimulatedRow {
  readonly policy: string;
  readonly knows: Knowledge;
  readonly blockTokens: number;
  readonly bits: HintBits;
  readonly secondSight: boolean;
  /** "all", or a kind of prompts. */
  readonly kind: string;
  readonly requests: number;
  readonly ttftMs: number;
  readonly tpot32Ms: number;
  readonly decodeHitRate: number;
  readonly prefillBytes: number;
  readonly decodeBytesPerToken: number;
}

export interface SimulatedCase {
  readonly policy: string;
  readonly knows: Knowledge;
  readonly blockTokens?: number;
  readonly bits?: HintBits;
  readonly secondSight?: boolean;
}

/** Of the experts. */
export const CACHE_SHARE = 0.25;
/** Of one expert of the inflated demo model, and of all that is not experts. */
const EXPERT_BYTES = 26_738_688;
const DENSE_BYTES = 75e6;
const DRIVE_BYTES_PER_SECOND = 1.5e9;
const COMPUTE_MS = 75;
const MEASURED_TOKENS = 32;
const SALT = "the traced model";

/** Every case that the result has: both policies with all knowledge, and what blocks and bits make of it. */
export function simulatedCases(): SimulatedCase[] {
  return ["lru", "warmset"].flatMap((policy): SimulatedCase[] => [
    ...(["off", "nothing", "alike", "same"] as const).map((knows) => ({ policy, knows })),
    ...[4, 16, 32].flatMap((blockTokens) =>
      (["alike", "same"] as const).map((knows) => ({ policy, knows, blockTokens })),
    ),
    ...([1, 2] as const).flatMap((bits) => (["alike", "same"] as const).map((knows) => ({ policy, knows, bits }))),
    { policy, knows: "alike", secondSight: true },
  ]);
}

export class HintSimulator {
  readonly #description: TraceDescription;
  readonly #shape: ModelShape;
  readonly #machine: MachineModel;
  readonly #teach: readonly HintRequest[];
  readonly #test: readonly HintRequest[];
  readonly #signals = new Map<HintRequest, SampleSignals>();

  constructor({ description, requests }: RecordedRequests) {
    const model = { ...description.model, expertBytes: description.model.expertBytes.map(() => EXPERT_BYTES) };
    this.#description = { ...description, model };
    this.#shape = shapeOf(model);
    this.#machine = {
      disk: plainDisk({ bytesPerSecond: DRIVE_BYTES_PER_SECOND }),
      compute: computeByBytes({ shape: this.#shape, denseBytes: DENSE_BYTES }, COMPUTE_MS),
      engine: { msPerStop: 0.1, msPerHandover: 0.05, msPerRequest: 0.01 },
    };
    this.#teach = requests.filter(({ part }) => part === "teach");
    this.#test = requests.filter(({ part }) => part === "test");
  }

  /** What policies are told of the requests besides the routing. To be called first. */
  async prepare(): Promise<void> {
    const gguf = openGguf(DEMO_MODEL);
    const routers = readRouterWeights(gguf, readMoeLayout(gguf));
    const reader = new SignalReader({ routers }, { embeddings: false, nextGate: true });
    for (const request of this.#test) this.#signals.set(request, await reader.of(request.sample));
  }

  run({
    policy: name,
    knows,
    blockTokens = BLOCK_TOKENS,
    bits = HINT_BITS,
    secondSight = false,
  }: SimulatedCase): SimulatedRow[] {
    const codec = new SegmentCodec(this.#shape, bits);
    const store = new MemoryHints({ merge: (old, observed) => codec.merge(old, observed), secondSight });
    const known = { off: [], nothing: [], alike: this.#teach, same: this.#test }[knows];
    for (const { sample } of known)
      for (const { key, hint } of observationsOf(sample, this.#shape, codec, { salt: SALT, blockTokens }))
        store.observe(key, hint);
    const base = replayPolicy(name);
    const passes: ReplayedPass[] = [];
    const replay = new Replay({
      ...{ trace: this.#description, machine: this.#machine, passes: { as: "recorded" } },
      cacheBytes: CACHE_SHARE * this.#shape.layers * this.#shape.experts * EXPERT_BYTES,
      policy: {
        ...base,
        create: (future, resources) => {
          const made = base.create(future, resources);
          if (knows === "off") return made;
          // A store that knows the very same must not learn what it is asked next from another answer to the same prompt.
          const link = new InlineLink(store);
          return new HintedPolicy(made, { link, salt: SALT, blockTokens, bits, record: knows !== "same" });
        },
      },
      onPass: (pass) => passes.push(pass),
    });
    const sums = new Map<string, Sums>();
    for (const request of this.#test) {
      const before = replay.statistics();
      replay.sample(request.sample, this.#signals.get(request));
      const after = replay.statistics() as NonNullable<typeof before>;
      const own = passes.splice(0);
      for (const kind of ["all", request.kind]) {
        const sum = sums.get(kind) ?? emptySums();
        sums.set(kind, sum);
        addRequest(sum, own, before, after);
      }
    }
    replay.figures();
    return [...sums].map(([kind, sum]) => ({
      ...{ policy: name, knows, blockTokens, bits, secondSight, kind, requests: sum.requests },
      ttftMs: sum.ttftMs / sum.requests,
      tpot32Ms: sum.decodeMs / sum.decodeTokens,
      decodeHitRate: sum.hits / sum.uses,
      prefillBytes: sum.prefillBytes / sum.requests,
      decodeBytesPerToken: sum.decodeBytes / sum.allTokens,
    }));
  }
}

type Statistics = NonNullable<ReturnType<Replay["statistics"]>>;
type Sums = ReturnType<typeof emptySums>;

function emptySums() {
  return {
    ...{ requests: 0, ttftMs: 0, decodeMs: 0, decodeTokens: 0, allTokens: 0 },
    ...{ hits: 0, uses: 0, prefillBytes: 0, decodeBytes: 0 },
  };
}

function addRequest(
  sum: Sums,
  passes: readonly ReplayedPass[],
  before: Statistics | undefined,
  after: Statistics,
): void {
  const decode = passes.filter(({ phase }) => phase === "decode");
  const ms = (of: readonly ReplayedPass[]) => of.reduce((total, { wallMs }) => total + wallMs, 0);
  const more = (phase: "prefill" | "decode", name: keyof Statistics["decode"]) =>
    after[phase][name] - (before?.[phase][name] ?? 0);
  const first = decode.slice(0, MEASURED_TOKENS);
  sum.requests++;
  sum.ttftMs += ms(passes.filter(({ phase }) => phase === "prefill"));
  sum.decodeMs += ms(first);
  sum.decodeTokens += first.length;
  sum.allTokens += decode.length;
  sum.hits += more("decode", "hits");
  sum.uses += more("decode", "hits") + more("decode", "lateHits") + more("decode", "misses");
  sum.prefillBytes += more("prefill", "bytesDemanded") + more("prefill", "bytesPrefetched");
  sum.decodeBytes += more("decode", "bytesDemanded") + more("decode", "bytesPrefetched");
}
