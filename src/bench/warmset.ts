/**
 * Our side of the comparison: the engine's own session in this process, decoding the same tokens through the same loop
 * as the opponent. It adds nothing to the engine but counting.
 */

import { NO_EXPERT } from "../cache/shape.ts";
import { emptyCounters } from "../cache/statistics.ts";
import { openSession } from "../engine/open-session.ts";
import type { Session } from "../engine/session.ts";
import { policyByName } from "../policy/index.ts";
import type { ContenderRun, ExpertFigures, WarmsetJob } from "./contender-protocol.ts";
import { warmsetVersion } from "./machine.ts";
import { type CountedFigures, forceTokens } from "./teacher-forcing.ts";

/** Runs the job in this process, which should do nothing else: RSS and reads are counted from its start. */
export function runWarmset(job: WarmsetJob, startedAtEpochMs: number): ContenderRun {
  const policy = policyByName(job.policy);
  // The same object with the same needs and evictions; only that it never speculates.
  if (!job.prefetch) policy.prefetch = () => NO_EXPERT;
  using session = openSession(job.modelPath, {
    memory: { kind: "process", bytes: job.memoryBytes },
    policy,
    contextSize: Math.max(...job.windows.map(({ tokens }) => tokens.length)),
    threads: job.threads,
  });
  const loadMs = Date.now() - startedAtEpochMs;

  let position = 0;
  let logits = new Float32Array(0);
  const decoder = {
    startSequence() {
      session.context.clear();
      position = 0;
    },
    decode(tokens: Int32Array) {
      logits = session.feed(tokens, position) as Float32Array<ArrayBuffer>;
      position += tokens.length;
    },
    logits: () => logits,
  };
  const { figures, counted } = forceTokens(job, startedAtEpochMs, decoder, expertCounters(session));
  return {
    system: "warmset",
    versions: {
      warmset: warmsetVersion(),
      node: process.version,
      llamaCpp: session.model.libraries.version,
    },
    loadMs,
    ...figures,
    experts: session.resident ? undefined : counted,
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

/** Decode-phase counters: prefills between the windows do not count. */
function expertCounters(session: Session): CountedFigures<ExpertFigures> {
  return {
    read() {
      const { cache, times } = session.statistics();
      const { hits, lateHits, misses, bytesDemanded, bytesPrefetched, bytesWasted } = cache?.decode ?? emptyCounters();
      return { hits, lateHits, misses, bytesDemanded, bytesPrefetched, bytesWasted, stallMs: times.stallMs };
    },
    add: (total, from, to) => ({
      hits: (total?.hits ?? 0) + to.hits - from.hits,
      lateHits: (total?.lateHits ?? 0) + to.lateHits - from.lateHits,
      misses: (total?.misses ?? 0) + to.misses - from.misses,
      bytesDemanded: (total?.bytesDemanded ?? 0) + to.bytesDemanded - from.bytesDemanded,
      bytesPrefetched: (total?.bytesPrefetched ?? 0) + to.bytesPrefetched - from.bytesPrefetched,
      bytesWasted: (total?.bytesWasted ?? 0) + to.bytesWasted - from.bytesWasted,
      stallMs: (total?.stallMs ?? 0) + to.stallMs - from.stallMs,
    }),
  };
}
