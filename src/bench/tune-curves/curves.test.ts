/** From runs to points, verdict and page. */
import { expect, test } from "vitest";
import { describeMachine } from "../machine.ts";
import { curvePoints } from "./curve-points.ts";
import { curveVariants, lineName } from "./curve-variants.ts";
import { renderCurvesHtml } from "./curves-page.ts";
import type { CurveRun, CurvesResult } from "./results.ts";
import { unbeaten, worthRunning } from "./unbeaten.ts";
import { judgeCurves } from "./verdict.ts";

const variants = curveVariants({ routers: ["slow"], scales: [0.5, 1], lambdas: [0.1, 0.2] });

test("variants: the base, each router at each scale, each lambda, and every pair of them", () => {
  expect(variants.map(({ name }) => name)).toEqual([
    ...["base", "slow @0.5", "slow @1", "cache-prior 0.1", "cache-prior 0.2"],
    ...["slow @0.5 + cache-prior 0.1", "slow @0.5 + cache-prior 0.2"],
    ...["slow @1 + cache-prior 0.1", "slow @1 + cache-prior 0.2"],
  ]);
  expect([...new Set(variants.map(lineName))]).toEqual(["base", "slow", "cache-prior", "slow + cache-prior"]);
});

/** Perplexity rises, and bytes fall, by these with scale and lambda. */
const COSTS = { scale: { rise: 0.01, fall: 30 }, lambda: { rise: 0.08, fall: 400 } };

function run(name: string, on: CurveRun["on"], round: number): CurveRun {
  const { scale, lambda } = variants.find((variant) => variant.name === name)!;
  const change = (key: "rise" | "fall") => (scale ?? 0) * COSTS.scale[key] + (lambda ?? 0) * COSTS.lambda[key];
  return {
    ...{ variant: name, on, round, tokens: 100, meanKl: 2 * change("rise"), p99Kl: 0.1, top1Agreement: 0.95 },
    ...{ perplexity: 10, perplexityChange: change("rise"), perplexityError: 0.002, hitRate: 0.6, missesPerToken: 10 },
    ...{ bytesPerToken: 100 - change("fall"), msPerToken: 50 - change("fall") / 3 + round, swapRate: lambda },
  };
}

function resultOf(runs: readonly CurveRun[]): CurvesResult {
  const points = curvePoints(variants, runs);
  return {
    ...{ kind: "tune-curves", warmset: "0.0.0", date: "2026-01-01T00:00:00.000Z", machine: describeMachine() },
    ...{ command: "npm run bench:tune-curves -- <x>", rounds: 3, complete: true, runs, notes: ["A note & more"] },
    configuration: {
      ...{ model: "small.gguf", engineModel: "large.gguf", routers: [], scales: [0.5, 1], lambdas: [0.1, 0.2] },
      ...{ cacheShare: 0.25, policy: "warmset", threads: 2, domains: ["prose"], lastTokens: 90 },
      ...{ textTokens: 80, engineTokens: 8 },
    },
    ...{ points, verdict: judgeCurves(points) },
  };
}

const names = variants.map(({ name }) => name);
const textRuns = names.map((name) => run(name, "text", 0));
const all = [...textRuns, ...[0, 1, 2].flatMap((round) => names.map((name) => run(name, "engine", round)))];

test("a point has the text's quality and the median of the engine's rounds, over the base's", () => {
  const point = curvePoints(variants, all).find(({ name }) => name === "slow @1 + cache-prior 0.1")!;
  expect(point.perplexityChange).toBeCloseTo(0.018, 9);
  expect(point.textBytesShare).toBe(0.3);
  expect(point.engine).toMatchObject({ rounds: 3, bytesPerToken: 30, bytesShare: 0.3 });
  expect(point.engine?.tpotRangeMs).toEqual([50 - 70 / 3, 52 - 70 / 3]);
  expect(point.engine?.tpotMs).toBeCloseTo(51 - 70 / 3, 9);
});

test("judged are the fewest bytes within +1 %, and told is where each line crosses it", () => {
  const verdict = judgeCurves(curvePoints(variants, all))!;
  const line = (wanted: string) => verdict.lines.find(({ line: name }) => name === wanted)!;
  expect(line("slow").best).toMatchObject({ name: "slow @1", bytesShare: 0.7 });
  expect(line("cache-prior").best).toMatchObject({ name: "cache-prior 0.1", bytesShare: 0.6 });
  // 0.08 L = 0.01 at L = 0.125, where 400 L = 50 of 100 bytes are saved.
  expect(line("cache-prior").interpolatedBytesShare).toBeCloseTo(0.5, 9);
  // From slow @0.5 (0.005, 85 bytes) to 0.1 more (0.013, 45): five eighths of the way. slow @1 is at the limit already.
  expect(line("slow + cache-prior").best).toBeNull();
  expect(line("slow + cache-prior").interpolatedBytesShare).toBeCloseTo(0.6, 9);
  expect(verdict.passed).toBe(false);
});

test("reached where a measured variant with both is within both limits", () => {
  const better = all.map((own) =>
    own.variant === "slow @0.5 + cache-prior 0.1" ? { ...own, perplexityChange: 0.009, bytesPerToken: 45 } : own,
  );
  const verdict = judgeCurves(curvePoints(variants, better))!;
  expect(verdict.passed).toBe(true);
  expect(verdict.lines.at(-1)?.best).toMatchObject({ name: "slow @0.5 + cache-prior 0.1", bytesShare: 0.45 });
});

test("the engine runs all but combinations that another one beats", () => {
  expect(
    unbeaten(
      [
        [1, 5],
        [2, 6],
        [3, 4],
        [3, 3],
        [4, 3],
      ],
      ([x]) => x,
      ([, y]) => y,
    ),
  ).toEqual([
    [1, 5],
    [3, 3],
  ]);
  const worse = textRuns.map((own) =>
    own.variant === "slow @0.5 + cache-prior 0.1" ? { ...own, perplexityChange: 0.05, meanKl: 0.1 } : own,
  );
  const kept = worthRunning(curvePoints(variants, worse)).map(({ name }) => name);
  expect(kept).toEqual(names.filter((name) => name !== "slow @0.5 + cache-prior 0.1"));
});

test("before the engine has run nothing is judged, and before the text nothing is a point", () => {
  expect(judgeCurves(curvePoints(variants, textRuns))).toBeNull();
  expect(curvePoints(variants, [])).toEqual([]);
  expect(renderCurvesHtml(resultOf(textRuns))).toContain("The engine has not run yet");
});

test("the page has the verdict, four figures, every variant and the conditions, and loads nothing", () => {
  const page = renderCurvesHtml(resultOf(all));
  expect(page).toContain("Not reached");
  for (const id of ["bytes-over-kl", "bytes-over-perplexity", "time-over-kl", "time-over-perplexity"])
    expect(page).toContain(`<figure id="${id}">`);
  for (const name of names) expect(page).toContain(name);
  expect(page).toContain("bench:tune-curves -- &lt;x&gt;");
  expect(page).not.toMatch(/<script|<link|(?:src|href)="(?!#)|NaN|undefined/);
});
