/**
 * Our side of the comparison: the engine's own session in this process, decoding the same tokens through the same loop
 * as the opponent. It adds nothing to the engine but counting.
 */
import { NO_EXPERT } from "../cache/shape.ts";
import { emptyCounters } from "../cache/statistics.ts";
import { openSession } from "../engine/open-session.ts";
import type { Session } from "../engine/session.ts";
import { headerHash } from "../gguf/header-hash.ts";
import { openGguf } from "../gguf/index.ts";
import { policyByName } from "../policy/index.ts";
import { loadPredictor } from "../predict/predictor-file.ts";
import type { ContenderRun, ExpertFigures, FirstPromptBytes, StepFigures, WarmsetJob } from "./contender-protocol.ts";
import { firstPromptBytes, PromptExperts } from "./first-prompt.ts";
import { warmsetVersion } from "./machine.ts";
import { type CountedFigures, forceTokens } from "./teacher-forcing.ts";

/** Runs the job in this process, which should do nothing else: RSS and reads are counted from its start. */
export function runWarmset(job: WarmsetJob, startedAtEpochMs: number): ContenderRun {
  const predictor =
    job.predictorFile === undefined ? undefined : loadPredictor(job.predictorFile, headerHash(openGguf(job.modelPath)));
  const policy = policyByName(job.policy, { predictor, stopwatch: () => performance.now() });
  // The same object with the same needs and evictions; only that it never speculates.
  if (!job.prefetch) policy.prefetch = () => NO_EXPERT;
  const promptExperts = new PromptExperts(policy);
  using session = openSession(job.modelPath, {
    ...job.variant,
    memory: { kind: "process", bytes: job.memoryBytes },
    policy,
    router: job.router,
    contextSize: Math.max(...job.windows.map(({ tokens }) => tokens.length)),
    threads: job.threads,
  });
  const loadMs = Date.now() - startedAtEpochMs;

  let position = 0;
  let logits = new Float32Array(0);
  let firstPromptReadBytes: number | undefined;
  const decoder = {
    startSequence() {
      session.context.clear();
      position = 0;
    },
    decode(tokens: Int32Array) {
      logits = session.feed(tokens, position) as Float32Array<ArrayBuffer>;
      position += tokens.length;
      if (firstPromptReadBytes !== undefined) return;
      promptExperts.stop();
      firstPromptReadBytes = session.statistics().bytesRead;
    },
    logits: () => logits,
  };
  const { figures, counted } = forceTokens(job, startedAtEpochMs, decoder, sessionCounters(session));
  const firstPrompt: FirstPromptBytes | undefined =
    session.resident || firstPromptReadBytes === undefined
      ? undefined
      : firstPromptBytes(job.modelPath, session.plan, promptExperts, firstPromptReadBytes);
  return {
    system: "warmset",
    versions: {
      warmset: warmsetVersion(),
      node: process.version,
      llamaCpp: session.model.libraries.version,
    },
    loadMs,
    ...figures,
    experts: session.resident ? undefined : counted?.experts,
    steps: counted?.steps,
    firstPrompt,
    details: {
      resident: session.resident,
      plan: session.plan,
      microBatchTokens: session.microBatchTokens,
      load: session.load,
      notes: session.notes,
      statistics: session.statistics(),
    },
  };
}

interface SessionFigures {
  readonly experts: ExpertFigures;
  readonly steps: StepFigures;
}

/** Decode-phase counters: prefills between the windows do not count. */
function sessionCounters(session: Session): CountedFigures<SessionFigures> {
  return {
    read() {
      const { cache, times, graphStops } = session.statistics();
      const { hits, lateHits, misses, bytesDemanded, bytesPrefetched, bytesWasted } = cache?.decode ?? emptyCounters();
      return {
        experts: { hits, lateHits, misses, bytesDemanded, bytesPrefetched, bytesWasted, stallMs: times.stallMs },
        steps: { ...times, graphStops },
      };
    },
    add: (total, from, to) => ({
      experts: addDifference(total?.experts, from.experts, to.experts),
      steps: addDifference(total?.steps, from.steps, to.steps),
    }),
  };
}

/** `total + (to - from)`, field by field. */
function addDifference<T extends { readonly [K in keyof T]: number }>(total: T | undefined, from: T, to: T): T {
  const sum: Record<string, number> = {};
  for (const key of Object.keys(to) as (keyof T & string)[]) sum[key] = (total?.[key] ?? 0) + to[key] - from[key];
  return sum as T;
}
