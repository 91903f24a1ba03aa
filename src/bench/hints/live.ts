/**
 * Hints on the engine: each store and each knowledge in a process of its own, on the same requests with the same tokens, from a cold
 * page cache, in an order that turns around every round.
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import path from "node:path";
import { HOST_NODE_FLAGS } from "../../engine/model-process.ts";
import { type HintEngine, openHints } from "../../flash/hints/open-hints.ts";
import { BLOCK_TOKENS, HINT_BITS, SegmentCodec } from "../../flash/hints/segment-hint.ts";
import { headerHash } from "../../gguf/header-hash.ts";
import { openGguf, readMoeLayout, toModelShape } from "../../gguf/index.ts";
import { DEMO_MODEL } from "../bench-model.ts";
import { promptTokens } from "../finemoe/prompt-split.ts";
import { benchFolder } from "../inflate.ts";
import { backMemory } from "../measured-run.ts";
import { dropPageCache } from "../page-cache.ts";
import { runBenchChild } from "../run-child.ts";
import { alternatingOrder } from "../suite-plan.ts";
import type { LiveHintJob, LiveHintRequest, LiveHintRun } from "./live-protocol.ts";
import { observationsOf } from "./observations.ts";
import type { HintRequest, RecordedRequests } from "./requests.ts";
import { CACHE_SHARE } from "./simulated.ts";

/** What is in the store when the run begins; `foreign`: as much as `alike`, of another model. `off`: no store. */
export type StoreState = "off" | "empty" | "foreign" | "alike" | "same";

export interface LiveVariant {
  readonly state: StoreState;
  /** Undefined without a store. */
  readonly engine: HintEngine | undefined;
}

export interface LiveHintsOptions {
  readonly modelPath: string;
  readonly policies: readonly string[];
  readonly variants: readonly LiveVariant[];
  /** Requests of a run, from all kinds in turn. */
  readonly requests: number;
  /** Tokens forced behind each prompt. */
  readonly decodeTokens: number;
  readonly rounds: number;
  /** Rounds that were run before, so that the order goes on turning. */
  readonly firstRound: number;
  readonly threads: number;
  readonly signal: AbortSignal;
  readonly onRun: (run: KeptRun) => void;
}

/** A run as it is kept in the result. */
export interface KeptRun extends LiveHintRun {
  readonly policy: string;
  readonly state: StoreState;
  readonly engine: HintEngine | null;
  readonly round: number;
  /** Taught before. */
  readonly hintsInStore: number;
}

/** A run that hangs must not stop a bench. */
const TIMEOUT_MS = 10 * 60_000;

export async function runLiveHints(recorded: RecordedRequests, options: LiveHintsOptions): Promise<void> {
  mkdirSync(benchFolder(), { recursive: true });
  const folder = mkdtempSync(path.join(benchFolder(), "hints-"));
  try {
    const all = options.policies.flatMap((policy) => options.variants.map((variant) => ({ policy, ...variant })));
    let first: KeptRun | undefined;
    for (let round = options.firstRound; round < options.firstRound + options.rounds; round++)
      for (const one of alternatingOrder(all, round)) {
        const run = await liveRun(recorded, options, folder, one, round);
        first ??= run;
        if (run.predictions.join() !== first.predictions.join())
          throw new Error(`${run.policy}, ${run.state}: it said something else than ${first.policy}, ${first.state}`);
        options.onRun(run);
      }
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function liveRun(
  recorded: RecordedRequests,
  { modelPath, requests, decodeTokens, threads, signal }: LiveHintsOptions,
  folder: string,
  { policy, state, engine }: LiveVariant & { readonly policy: string },
  round: number,
): Promise<KeptRun> {
  const file = path.join(folder, "store");
  rmSync(file, { force: true });
  const gguf = openGguf(modelPath);
  const salt = headerHash(gguf);
  const test = measuredRequests(recorded, requests);
  const hintsInStore =
    engine === undefined ? 0 : await teach(file, engine, taughtRequests(recorded, test, state), salt, state);
  const job: LiveHintJob = {
    ...{ modelPath, policy, threads },
    expertBytes: Math.floor(CACHE_SHARE * readMoeLayout(gguf).expertBytesTotal),
    hints: engine === undefined ? undefined : { path: file, engine, salt },
    warmUp: liveRequest(warmUpOf(recorded, test), decodeTokens),
    requests: test.map((request) => liveRequest(request, decodeTokens)),
  };
  dropPageCache(modelPath);
  backMemory(job.expertBytes);
  const outcome = await runBenchChild("./hints/live-run.js", job, {
    ...{ nodeFlags: HOST_NODE_FLAGS, signal, timeoutMs: TIMEOUT_MS },
  });
  if (outcome.status === "failed") throw new Error(`${policy}, ${state}: ${outcome.reason}`);
  const run = outcome.result as LiveHintRun;
  if (run.problem !== undefined) throw new Error(`${policy}, ${state}: ${run.problem}`);
  return { ...run, policy, state, engine: engine ?? null, round, hintsInStore };
}

function liveRequest({ kind, sample }: HintRequest, decodeTokens: number): LiveHintRequest {
  const prompt = promptTokens(sample);
  return { kind, promptTokens: prompt, tokens: [...(sample.tokens ?? [])].slice(0, prompt + decodeTokens) };
}

/** A prompt that shares nothing with those that are measured. */
function warmUpOf({ requests }: RecordedRequests, test: readonly HintRequest[]): HintRequest {
  const found = requests.findLast((request) => request.kind === "new" && !test.includes(request));
  if (found === undefined) throw new Error("All new prompts are measured: none is left to begin with");
  return found;
}

/** From all kinds in turn, so that a short run has some of each. */
function measuredRequests({ requests }: RecordedRequests, count: number): readonly HintRequest[] {
  const test = requests.filter(({ part }) => part === "test");
  const kinds = [...new Set(test.map(({ kind }) => kind))].map((kind) => test.filter((one) => one.kind === kind));
  const inTurn = test.flatMap((_, i) => kinds.flatMap((own) => own[i * 3] ?? []));
  return inTurn.slice(0, count);
}

function taughtRequests({ requests }: RecordedRequests, test: readonly HintRequest[], state: StoreState) {
  if (state === "same") return test;
  return state === "empty" ? [] : requests.filter(({ part }) => part === "teach");
}

/** As the engine would have learned it, which takes seconds where that takes an hour. @returns hints put */
async function teach(
  file: string,
  engine: HintEngine,
  requests: readonly HintRequest[],
  modelSalt: string,
  state: StoreState,
): Promise<number> {
  const [first] = requests;
  if (first === undefined) return 0;
  const shape = toModelShape(readMoeLayout(openGguf(DEMO_MODEL)));
  const codec = new SegmentCodec(shape, HINT_BITS);
  const salt = state === "foreign" ? `${modelSalt}, but another` : modelSalt;
  const store = await openHints({ path: file, engine, merge: (old, observed) => codec.merge(old, observed) });
  let hints = 0;
  for (const { sample } of requests)
    for (const { key, hint } of observationsOf(sample, shape, codec, { salt, blockTokens: BLOCK_TOKENS })) {
      await store.record(key, hint);
      hints++;
    }
  await store.close();
  return hints;
}
