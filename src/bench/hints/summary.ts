/** Runs with hints as rows: medians over rounds of the mean over requests, for all prompts together and by kind. Pure. */
import { median } from "../quantile.ts";
import type { KeptRun } from "./live.ts";
import type { LiveHintFigures } from "./live-protocol.ts";

export interface LiveHintRow {
  readonly policy: string;
  readonly state: KeptRun["state"];
  readonly engine: KeptRun["engine"];
  /** "all", or a kind of prompts. */
  readonly kind: string;
  readonly runs: number;
  readonly ttftMs: number;
  readonly tpotMs: number;
  readonly decodeHitRate: number;
  readonly prefillBytes: number;
  readonly decodeBytesPerToken: number;
  /** Share of the blocks asked about of which the store knew, all prompts together; null without a store. */
  readonly blocksHinted: number | null;
  /** Longest time that a prompt waited for its hints, of all runs. */
  readonly longestWaitMs: number | null;
  readonly peakRssBytes: number;
  readonly bytesWritten: number;
}

export function liveRows(runs: readonly KeptRun[]): LiveHintRow[] {
  const cells = new Map<string, KeptRun[]>();
  for (const run of runs) {
    const name = `${run.policy} ${run.state} ${run.engine}`;
    cells.set(name, [...(cells.get(name) ?? []), run]);
  }
  return [...cells.values()].flatMap((own) => {
    const kinds = ["all", ...new Set(own[0].requests.map(({ kind }) => kind))];
    return kinds.map((kind) => rowOf(own, kind));
  });
}

function rowOf(runs: readonly KeptRun[], kind: string): LiveHintRow {
  const { policy, state, engine } = runs[0];
  const over = (of: (request: LiveHintFigures) => number) =>
    median(runs.map(({ requests }) => mean(requests.filter((one) => kind === "all" || one.kind === kind).map(of))));
  const figure = (name: string) => runs.map(({ figures }) => figures[name]).filter((value) => value !== undefined);
  const [found, unknown] = [figure("blocksHinted"), figure("blocksUnknown")];
  return {
    ...{ policy, state, engine, kind, runs: runs.length },
    ttftMs: over(({ ttftMs }) => ttftMs),
    tpotMs: over(({ stepMs }) => mean(stepMs)),
    decodeHitRate: over(({ decodeHitRate }) => decodeHitRate),
    prefillBytes: over(({ prefillBytesRead }) => prefillBytesRead),
    decodeBytesPerToken: over(({ decodeBytesRead, stepMs }) => decodeBytesRead / stepMs.length),
    blocksHinted: found.length === 0 ? null : median(found.map((hits, i) => hits / (hits + unknown[i]))),
    longestWaitMs: found.length === 0 ? null : Math.max(...figure("hintLongestWaitMs")),
    peakRssBytes: median(runs.map(({ peakRssBytes }) => peakRssBytes)),
    bytesWritten: median(runs.map(({ bytesWritten }) => bytesWritten)),
  };
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
