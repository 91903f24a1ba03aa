/** One run of the identity gate: the engine, opened as the run says, follows the conversation. */
import { type LayerDemand, smallestBudgetBytes } from "../../src/cache/layer-budget.ts";
import { openSession } from "../../src/engine/open-session.ts";
import type { MemoryBudget, SessionOptions } from "../../src/engine/options.ts";
import type { SessionStatistics } from "../../src/engine/session.ts";
import { openGguf, readMoeLayout, toModelShape } from "../../src/gguf/index.ts";
import { policyByName } from "../../src/policy/index.ts";
import { type ConversationLength, converse, SEQUENCES, type Transcript } from "./conversation.ts";
import { policyResources } from "./policy-resources.ts";
import { type IdentityRun, policyOf } from "./run-plan.ts";
import { withStock } from "./stock.ts";

export interface ModelUnderTest {
  readonly single: string;
  /** First shard. */
  readonly split: string;
  readonly words: ArrayLike<number>;
  readonly length: ConversationLength;
  readonly contextSize: number;
  readonly microBatchTokens: number;
  readonly threads: number;
}

export interface EngineRecord {
  readonly transcript: Transcript;
  readonly statistics: SessionStatistics;
  readonly microBatchTokens: number;
  readonly resident: boolean;
}

/** @param demand of the policy: one that brings in whole layers needs room for one */
export function budgetOf(path: string, budget: IdentityRun["budget"], demand: LayerDemand = {}): MemoryBudget {
  const layout = readMoeLayout(openGguf(path));
  const smallest = smallestBudgetBytes(toModelShape(layout), 1, demand);
  const share = { all: 1, half: 1 / 2, quarter: 1 / 4, smallest: 0 }[budget];
  return { kind: "experts", bytes: Math.max(smallest, Math.floor(share * layout.expertBytesTotal)) };
}

export function runEngine(model: ModelUnderTest, run: IdentityRun, more: Partial<SessionOptions> = {}): EngineRecord {
  const path = run.file === "split" ? model.split : model.single;
  const policy = more.policy ?? policyByName(policyOf(run), policyResources(path));
  using session = openSession(path, {
    memory: budgetOf(path, run.budget, policy.needs),
    contextSize: model.contextSize,
    maxSequences: SEQUENCES,
    microBatchTokens: model.microBatchTokens,
    threads: model.threads,
    backend: run.storage === "page-cache" ? "page-cache" : "owned",
    io: run.storage === "owned, pread" ? "pread" : "direct",
    recyclePages: run.recyclePages,
    ...more,
    policy,
  });
  const transcript = converse(session, model.words, model.length);
  const { microBatchTokens, resident } = session;
  return { transcript, statistics: session.statistics(), microBatchTokens, resident };
}

/** What stock llama.cpp says, computed once for each model and micro-batch. */
export class StockTranscripts {
  readonly #known = new Map<string, Transcript>();

  of(model: ModelUnderTest, microBatchTokens: number): Transcript {
    const { single, words, length, contextSize, threads } = model;
    const key = `${single} ${microBatchTokens} ${threads}`;
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const options = { contextSize, maxSequences: SEQUENCES, microBatchTokens, threads };
    const transcript = withStock(single, options, (computer) => converse(computer, words, length));
    this.#known.set(key, transcript);
    return transcript;
  }
}
