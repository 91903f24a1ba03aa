/** The program of one run on the engine: documents with fixed tokens through one variant of a model under one budget. */
import { readMessage, writeResult } from "../../bench/child-message.ts";
import { openSession } from "../../engine/open-session.ts";
import { dieWithParent } from "../../memory/libc.ts";
import { policyByName } from "../../policy/index.ts";
import type { LiveJob, LiveRun } from "./live-protocol.ts";

dieWithParent();
writeResult(run(readMessage() as LiveJob));

function run({ model, router, cacheBias, policy, expertBytes, threads, documents }: LiveJob): LiveRun {
  using session = openSession(model, {
    ...{ memory: { kind: "experts", bytes: expertBytes }, policy: policyByName(policy), router, cacheBias, threads },
    contextSize: Math.max(...documents.map(({ tokens }) => tokens.length)),
  });
  if (session.resident) throw new Error("all experts fit this budget: there is nothing to measure");
  const stepMs: number[] = [];
  let stallMs = 0;
  for (const { promptTokens, tokens } of documents) {
    session.context.clear();
    session.feed(tokens.slice(0, promptTokens), 0);
    const before = session.statistics().times.stallMs;
    for (let at = promptTokens; at < tokens.length; at++) {
      const start = performance.now();
      session.feed([tokens[at]], at);
      stepMs.push(performance.now() - start);
    }
    stallMs += session.statistics().times.stallMs - before;
  }
  const { cache, cacheBias: bias } = session.statistics();
  if (cache === undefined) throw new Error("nothing was streamed");
  const { hits, lateHits, misses, bytesDemanded, bytesPrefetched } = cache.decode;
  return {
    ...{ stepMs, stallMs, hits, lateHits, misses, bytes: bytesDemanded + bytesPrefetched },
    swapRate: bias?.swapRate ?? null,
  };
}
