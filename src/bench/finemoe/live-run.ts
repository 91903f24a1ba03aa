/**
 * The program of one measured run: requests with fixed tokens through the engine under one policy and one budget of experts.
 * The tokens are forced, so every policy computes the same; what the model would have said is told, so that this can be checked.
 */

import type { Policy, RouterEvent } from "../../cache/policy.ts";
import { emptyCounters } from "../../cache/statistics.ts";
import { openSession } from "../../engine/open-session.ts";
import type { Session } from "../../engine/session.ts";
import { headerHash } from "../../gguf/header-hash.ts";
import { openGguf } from "../../gguf/index.ts";
import { dieWithParent } from "../../memory/libc.ts";
import { belady } from "../../policy/belady.ts";
import { policyByName } from "../../policy/by-name.ts";
import { oraclePrefetch } from "../../policy/oracle-prefetch.ts";
import type { RecordedStop } from "../../policy/recorded-future.ts";
import { recordedFuture } from "../../policy/recorded-future.ts";
import { loadPredictor } from "../../predict/predictor-file.ts";
import { readMessage, writeResult } from "../child-message.ts";
import { countedSince, type RequestFigures } from "./figures.ts";
import type { LiveJob, LiveRequest, LiveRun, LiveStop } from "./live-protocol.ts";
import { PolicyStopwatch } from "./policy-stopwatch.ts";

dieWithParent();
writeResult(run(readMessage() as LiveJob));

function run(job: LiveJob): LiveRun {
  const policy = policyOf(job);
  const stops: LiveStop[] = [];
  if (job.record) recordStops(policy, stops);
  const stopwatch = new PolicyStopwatch(policy);
  using session = openSession(job.modelPath, {
    memory: { kind: "experts", bytes: job.expertBytes },
    policy,
    contextSize: Math.max(...job.requests.map(({ tokens }) => tokens.length)),
    threads: job.threads,
  });
  if (session.resident) throw new Error("All experts fit this budget: there is nothing to compare");
  const predictions: number[][] = [];
  let policyMs = 0;
  let steps = 0;
  const requests = job.requests.map((request) => {
    const before = stopwatch.ms;
    const { figures, predicted, promptPolicyMs } = requestFigures(session, request, stopwatch);
    predictions.push(predicted);
    policyMs += stopwatch.ms - before - promptPolicyMs;
    steps += figures.stepMs.length;
    return figures;
  });
  return {
    cacheBytes: session.plan.expertBudgetBytes,
    requests,
    bytesUnused: session.statistics().cache?.bytesUnused ?? 0,
    mechanisms: policy.figures?.() ?? {},
    learns: policy.learned !== undefined,
    policyMs: policyMs / Math.max(1, steps),
    predictions,
    stops: job.record ? stops : undefined,
  };
}

function policyOf({ modelPath, policy, learned, future, predictorFile }: LiveJob): Policy {
  const knowsFuture = { belady, "oracle-prefetch": oraclePrefetch }[policy];
  if (knowsFuture !== undefined) {
    const stops = (future ?? []).map(
      ({ layer, distinct }): RecordedStop => ({ layer, distinct: Int32Array.from(distinct) }),
    );
    return knowsFuture(recordedFuture(stops));
  }
  return policyByName(policy, {
    ...(learned === undefined ? {} : { learned: Buffer.from(learned, "base64") }),
    predictor: predictorFile === undefined ? undefined : loadPredictor(predictorFile),
    modelHash: headerHash(openGguf(modelPath)),
    stopwatch: () => performance.now(),
  });
}

/** The stops at which experts were chosen, in the order in which the policy is told of them. */
function recordStops(policy: Policy, stops: LiveStop[]): void {
  const routed = policy.routed.bind(policy);
  policy.routed = (event: RouterEvent) => {
    stops.push({ layer: event.layer, distinct: [...event.distinct.subarray(0, event.distinctCount)] });
    routed(event);
  };
}

function requestFigures(
  session: Session,
  { request, domain, promptTokens, tokens }: LiveRequest,
  stopwatch: PolicyStopwatch,
): { readonly figures: RequestFigures; readonly predicted: number[]; readonly promptPolicyMs: number } {
  const predicted: number[] = [];
  session.context.clear();
  const atStart = session.statistics();
  const policyMs = stopwatch.ms;
  const feed = (from: number, to: number): number => {
    const start = performance.now();
    const logits = session.feed(tokens.slice(from, to), from);
    const ms = performance.now() - start;
    predicted.push(mostLikely(logits));
    return ms;
  };
  const ttftMs = feed(0, promptTokens);
  const promptPolicyMs = stopwatch.ms - policyMs;
  const behindPrompt = session.statistics();
  const stepMs = Array.from({ length: tokens.length - promptTokens }, (_, i) =>
    feed(promptTokens + i, promptTokens + i + 1),
  );
  const atEnd = session.statistics();
  const counters = (phase: "prefill" | "decode") =>
    countedSince(atStart.cache?.[phase] ?? emptyCounters(), atEnd.cache?.[phase] ?? emptyCounters());
  return {
    figures: {
      ...{ request, domain, ttftMs, stepMs, decodeTokens: stepMs.length },
      computeMs: atEnd.times.computeMs - behindPrompt.times.computeMs,
      stallMs: atEnd.times.stallMs - behindPrompt.times.stallMs,
      prefill: counters("prefill"),
      decode: counters("decode"),
    },
    ...{ predicted, promptPolicyMs },
  };
}

function mostLikely(logits: Float32Array): number {
  let best = 0;
  for (let i = 1; i < logits.length; i++) if (logits[i] > logits[best]) best = i;
  return best;
}
