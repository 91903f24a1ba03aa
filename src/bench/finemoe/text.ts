/** The result for a terminal: a table for each cell, what was left out and why, and the goals. */
import { textTable } from "../bench-program.ts";
import type { FinemoeResult } from "./results.ts";
import type { FinemoeRow } from "./row.ts";
import { cellsOf, percent } from "./targets.ts";

const HEAD = [
  "policy",
  "TTFT s",
  "TPOT ms",
  "95 %",
  "token p50",
  "p95",
  "p99",
  "hit",
  "late",
  "miss",
  "coverage",
  "GoodPred",
  "MB demanded",
  "ahead",
  "wasted",
  "x LRU",
  "search us",
  "p99",
  "dropped",
  "store MB",
  "stall ms",
  "rho",
  "on demand ms",
];

export function finemoeText(result: FinemoeResult): string {
  const { configuration, skipped, targets, published, realTraces, serving, ablations } = result;
  const simulated = result.rows.some(({ source }) => source === "simulated");
  return [
    `${configuration.model}, ${configuration.trace}: ${configuration.testPrompts} test prompts, ${configuration.trainPrompts} learned from`,
    ...(simulated ? [configuration.drive.text, configuration.compute.text] : []),
    ...cellsOf(result.rows).flatMap(({ source, mode, cacheShare, rows }) => [
      "",
      `${source}, ${mode}, ${percent(cacheShare)} of the experts`,
      textTable(HEAD, rows.map(cellsOfRow)),
    ]),
    ...(realTraces.length === 0 ? [] : ["", "traces of real models: hits of decode steps, MB read a token"]),
    ...(realTraces.length === 0
      ? []
      : [
          textTable(
            ["trace", "policy", "cache", "hit", "MB"],
            realTraces.map(({ trace, policy, cacheShare, hitRate, bytesPerToken }) => [
              trace,
              policy,
              percent(cacheShare),
              percent(hitRate, 1),
              megabytes(bytesPerToken),
            ]),
          ),
        ]),
    ...(serving.length === 0 ? [] : ["", "requests that arrive while others are served, online, latency in s"]),
    ...(serving.length === 0
      ? []
      : [
          textTable(
            ["policy", "req/s", "load", "p50", "p90", "p99", "first token p50", "p99"],
            serving.map((one) => [
              one.policy,
              one.requestsPerSecond.toFixed(3),
              one.load.toFixed(2),
              ...[one.latencyMs.p50, one.latencyMs.p90, one.latencyMs.p99].map(seconds),
              ...[one.firstTokenMs.p50, one.firstTokenMs.p99].map(seconds),
            ]),
          ),
        ]),
    ...ablations.flatMap(({ title, figure, rows, cacheShare, mode }) =>
      rows.length === 0
        ? []
        : [
            "",
            `${title}${figure === null ? "" : ` (figure ${figure})`}, ${mode}, ${percent(cacheShare)}`,
            textTable(
              ["", ...HEAD.slice(1)],
              rows.map(({ label, row }) => [label, ...cellsOfRow(row).slice(1)]),
            ),
          ],
    ),
    ...(published.length === 0 ? [] : ["", "the paper, and the same here"]),
    ...(published.length === 0
      ? []
      : [
          textTable(
            ["", "published", "here", "agrees"],
            published.map(({ name, published, here, agrees }) => [name, published, here, verdict(agrees)]),
          ),
        ]),
    ...(skipped.length === 0
      ? []
      : ["", "not run", ...skipped.map(({ policy, source, reason }) => `  ${policy} (${source}): ${reason}`)]),
    "",
    textTable(
      ["goal", "wanted", "here", "95 %", "met", "detail"],
      targets.map(({ source, name, wanted, measured, met, interval, detail }) => [
        `${source}: ${name}`,
        wanted,
        measured === null ? "–" : measured.toFixed(3),
        interval === undefined ? "" : `${interval.low.toFixed(3)} to ${interval.high.toFixed(3)}`,
        met === null ? "open" : verdict(met),
        detail,
      ]),
    ),
    ...result.notes.map((note) => `note: ${note}`),
  ].join("\n");
}

function cellsOfRow(row: FinemoeRow): string[] {
  const { tokenMs, bytesPerToken, search } = row;
  const orDash = (value: number | null, text: (value: number) => string) => (value === null ? "–" : text(value));
  const whole = (value: number) => value.toFixed(0);
  return [
    row.policy,
    (row.ttftMs.value / 1000).toFixed(2),
    row.tpotMs.value.toFixed(1),
    `${row.tpotMs.low.toFixed(0)}-${row.tpotMs.high.toFixed(0)}`,
    ...[tokenMs.p50, tokenMs.p95, tokenMs.p99].map(whole),
    ...[row.hitRate, row.lateHitRate, row.missRate].map((share) => percent(share, 1)),
    orDash(row.coverage, (share) => percent(share, 1)),
    percent(row.goodPred, 1),
    ...[bytesPerToken.demanded, bytesPerToken.speculated, bytesPerToken.wasted].map(megabytes),
    orDash(row.bytesOverLru, (ratio) => ratio.toFixed(2)),
    ...[search.p50Us, search.p99Us, search.dropped].map((value) => orDash(value, whole)),
    orDash(row.storeBytes, megabytes),
    row.stallMs.toFixed(0),
    row.rho.toFixed(1),
    orDash(row.floor.tpotMs, whole),
  ];
}

const megabytes = (bytes: number) => (bytes / 1e6).toFixed(1);
const seconds = (ms: number) => (ms / 1000).toFixed(1);
const verdict = (yes: boolean | null) => (yes === null ? "–" : yes ? "yes" : "NO");
