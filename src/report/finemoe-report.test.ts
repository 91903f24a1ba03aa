/** What the page of a policy comparison says, and that it needs nothing but itself. */
import { expect, test } from "vitest";
import { smallMachine, smallTrace } from "../bench/finemoe/bench-rows.test-data.ts";
import type { FinemoeResult } from "../bench/finemoe/results.ts";
import { runFinemoeSuite } from "../bench/finemoe/suite.ts";
import { finemoeFigures, renderFinemoeHtml } from "./finemoe-report.ts";

const trace = smallTrace(60, 5);
const from = { kind: "given", text: "As given, from /home/somebody/model.gguf.", date: null } as const;

async function comparison(): Promise<FinemoeResult> {
  return runFinemoeSuite({
    ...{ trace, traceName: "small", policies: ["moe-infinity", "no-such-policy"], cacheShares: [0.25, 0.5] },
    machine: { machine: smallMachine(trace), disk: from, compute: from },
    ...{ workers: 1, command: "warmset bench --suite finemoe <script>", requests: 12, notes: ["A note & more"] },
  });
}

test("the page has the figures, every row, what did not run, and the command, and loads nothing", async () => {
  const result = await comparison();
  expect(result).toMatchObject({ kind: "finemoe", complete: true });
  const page = renderFinemoeHtml(result);
  for (const policy of ["on-demand", "lru", "belady", "oracle-prefetch", "moe-infinity"])
    expect(page).toContain(policy);
  expect(page).toContain("no-such-policy (simulated): unknown policy");
  expect(page).toContain("Nothing on this page was measured on the engine.");
  expect(page).toContain("warmset bench --suite finemoe &lt;script&gt;");
  expect(page).toContain("A note &amp; more");
  expect(page).not.toContain("/home/somebody");
  expect(page).not.toMatch(/<script|<link|(?:src|href)="(?!#)/);
  const ids = finemoeFigures(result).map(({ id }) => id);
  for (const id of [
    "tpot-by-cache-simulated-online",
    "hits-and-time-simulated-offline",
    "bytes-simulated-online",
    "serving-0",
  ])
    expect(ids).toContain(id);
  expect(new Set(ids).size).toBe(ids.length);
});

test("measured rows and ablations get sections of their own", async () => {
  const result = await comparison();
  const measured = result.rows.map((row) => ({ ...row, source: "measured" as const, simulatedTpotMs: 12 }));
  const [row] = result.rows;
  const ablations = ["distance", "threshold"].map((id) => ({
    ...{ id, title: `Title of ${id}`, figure: "15", mode: "offline" as const, cacheShare: 0.25 },
    rows: [1, 2].map((at) => ({ label: String(at), at: id === "distance" ? at : null, row })),
  }));
  const page = renderFinemoeHtml({ ...result, rows: [...result.rows, ...measured], ablations });
  expect(page).toContain("Rows called measured ran on the engine");
  expect(page).toContain("TPOT simulated");
  expect(page).toContain("Title of distance (the paper&#39;s figure 15)");
  expect(finemoeFigures({ ...result, ablations }).map(({ id }) => id)).toContain("ablation-threshold");
});
