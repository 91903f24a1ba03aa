/** The program of one measured run: requests with forced tokens on the engine, with a store of hints or without. */
import { readFileSync } from "node:fs";
import { openSession } from "../../engine/open-session.ts";
import type { Session } from "../../engine/session.ts";
import { ThreadLink } from "../../flash/hints/thread-link.ts";
import { openGguf, readMoeLayout, toModelShape } from "../../gguf/index.ts";
import { dieWithParent } from "../../memory/libc.ts";
import { policyByName } from "../../policy/index.ts";
import { readMessage, writeResult } from "../child-message.ts";
import { peakRssBytes } from "../process-figures.ts";
import type { LiveHintFigures, LiveHintJob, LiveHintRequest, LiveHintRun } from "./live-protocol.ts";

dieWithParent();
writeResult(run(readMessage() as LiveHintJob));

function run({ modelPath, policy, expertBytes, threads, hints, warmUp, requests }: LiveHintJob): LiveHintRun {
  const shape = toModelShape(readMoeLayout(openGguf(modelPath)));
  const link = hints === undefined ? undefined : new ThreadLink({ path: hints.path, engine: hints.engine, shape });
  link?.waitUntilOpen();
  const predictions: number[] = [];
  const session = openSession(modelPath, {
    memory: { kind: "experts", bytes: expertBytes },
    policy: policyByName(policy),
    ...(link === undefined || hints === undefined ? {} : { hints: { link, salt: hints.salt } }),
    contextSize: Math.max(...[warmUp, ...requests].map(({ tokens }) => tokens.length)),
    threads,
  });
  let figures: Readonly<Record<string, number>>;
  const measured: LiveHintFigures[] = [];
  try {
    if (session.resident) throw new Error("all experts fit this budget: there is nothing to measure");
    measure(session, warmUp, predictions);
    for (const request of requests) measured.push(measure(session, request, predictions));
    figures = session.statistics().policyFigures ?? {};
  } finally {
    session.dispose();
  }
  return {
    ...{ requests: measured, predictions, problem: link?.problem },
    figures: { ...figures, ...link?.figures() },
    peakRssBytes: peakRssBytes(),
    bytesWritten: Number(/^write_bytes: (\d+)$/m.exec(readFileSync("/proc/self/io", "utf8"))?.[1] ?? Number.NaN),
  };
}

function measure(
  session: Session,
  { kind, promptTokens, tokens }: LiveHintRequest,
  predictions: number[],
): LiveHintFigures {
  session.context.clear();
  session.startRequest();
  const start = session.statistics();
  const feed = (from: number, to: number): number => {
    const startMs = performance.now();
    const logits = session.feed(tokens.slice(from, to), from);
    const ms = performance.now() - startMs;
    predictions.push(logits.indexOf(logits.reduce((a, b) => Math.max(a, b))));
    return ms;
  };
  const ttftMs = feed(0, promptTokens);
  const behindPrompt = session.statistics();
  const stepMs = Array.from({ length: tokens.length - promptTokens }, (_, i) =>
    feed(promptTokens + i, promptTokens + i + 1),
  );
  const end = session.statistics();
  const more = (name: "hits" | "lateHits" | "misses") =>
    (end.cache?.decode[name] ?? 0) - (behindPrompt.cache?.decode[name] ?? 0);
  return {
    ...{ kind, ttftMs, stepMs },
    stallMs: end.times.stallMs - start.times.stallMs,
    decodeHitRate: more("hits") / (more("hits") + more("lateHits") + more("misses")),
    prefillBytesRead: behindPrompt.bytesRead - start.bytesRead,
    decodeBytesRead: end.bytesRead - behindPrompt.bytesRead,
  };
}
