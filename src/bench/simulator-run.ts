/**
 * The program of one live run of `bench:simulator`: tokens of a text forced through the engine, with what the routers
 * chose, what the cache did and how long it took.
 */
import { readFileSync } from "node:fs";
import { hitRate } from "../cache/statistics.ts";
import { openSession } from "../engine/open-session.ts";
import { openGguf, readMoeLayout, toModelShape } from "../gguf/index.ts";
import { dieWithParent } from "../memory/libc.ts";
import { policyByName } from "../policy/index.ts";
import { readMessage, writeResult } from "./child-message.ts";
import { recordSession } from "./recorded-session.ts";
import type { LiveJob, LiveRun } from "./simulator-protocol.ts";

dieWithParent();
writeResult(run(readMessage() as LiveJob));

function run(job: LiveJob): LiveRun {
  const { modelPath, expertBytes, threads, promptTokens, warmupTokens, tokens } = job;
  const shape = toModelShape(readMoeLayout(openGguf(modelPath)));
  using session = openSession(modelPath, {
    memory: { kind: "experts", bytes: expertBytes },
    policy: policyByName(job.policy),
    contextSize: promptTokens + warmupTokens + tokens,
    threads,
  });
  const words = Int32Array.from(
    session.model.vocabulary.tokenize(readFileSync(job.textFile, "utf8").slice(2000, 8000)),
  );
  const forced = words.subarray(0, promptTokens + warmupTokens + tokens);
  let start = session.statistics();
  const { sample, stepMs } = recordSession(session, shape, forced, promptTokens, (step) => {
    if (step === warmupTokens) start = session.statistics();
  });
  const end = session.statistics();
  const counted = stepMs.slice(warmupTokens);
  const perToken = (of: (statistics: typeof end) => number) => (of(end) - of(start)) / counted.length;
  const counters = { ...end.cache!.decode };
  for (const name of ["hits", "lateHits", "misses"] as const) counters[name] -= start.cache!.decode[name];
  return {
    cacheBytes: session.plan.expertBudgetBytes,
    tokensPerSecond: (1000 * counted.length) / counted.reduce((sum, ms) => sum + ms, 0),
    computeMs: perToken(({ times }) => times.computeMs),
    stallMs: perToken(({ times }) => times.stallMs),
    managementMs: perToken(({ times }) => times.managementMs),
    bytesPerToken: perToken(({ cache }) => cache!.decode.bytesDemanded),
    hitRate: hitRate(counters),
    hits: counters.hits,
    misses: counters.misses,
    sample: {
      length: sample.length,
      phases: [...sample.phases],
      batches: [...sample.batches],
      experts: [...sample.experts],
      probs: [...(sample.probs ?? [])],
    },
  };
}
