import { expect, test } from "vitest";
import { cell, demandOnly, experts, firstPrompt, measured, ours, run, stock } from "./report.test-data.ts";
import { computeAloneMs, resultRows } from "./report.ts";
import { judgeTargets } from "./targets.ts";

const fits = cell("fits", 1.25, [stock, ours]);
const half = cell("limited", 0.5, [stock, ours, demandOnly]);
const suite = [
  measured(fits, stock, [run(stock, 40)]),
  measured(fits, ours, [run(ours, 41)]),
  measured(half, stock, [run(stock, 210)]),
  measured(half, ours, [
    run(ours, 100, {
      bytesRead: 9e8,
      experts: experts({
        hits: 7,
        misses: 3,
        bytesDemanded: 6e8,
        bytesPrefetched: 3e8,
        bytesWasted: 1e8,
        stallMs: 400,
      }),
    }),
  ]),
  measured(half, demandOnly, [
    run(ours, 130, { bytesRead: 8e8, experts: experts({ misses: 30, hits: 70, bytesDemanded: 8e8, stallMs: 900 }) }),
  ]),
];
const targets = judgeTargets(resultRows(suite), "next-use", computeAloneMs(suite));
const target = (name: string) => targets.find((candidate) => candidate.name === name);

test("targets are met or missed by the rows", () => {
  expect(target("tok/s over llama.cpp's at 50 %")).toMatchObject({ met: true });
  expect(target("time of a token over its limit at 50 %")).toMatchObject({ met: false });
  expect(target("reading speed over the device's at 50 %")).toMatchObject({ met: true });
  expect(target("stall with prefetching over stall without at 50 %")?.measured).toBeCloseTo(40 / 90);
  expect(target("peak RSS over the limit at 50 %")).toMatchObject({ measured: 0.9, met: true });
  expect(target("tok/s over llama.cpp's when all fits")).toMatchObject({ met: true });
});

test("targets are neither where nothing was measured", () => {
  expect(target("tok/s over llama.cpp's at 20 %")).toMatchObject({ measured: null, met: null });
  expect(target("first token over llama.cpp's, cold, 8-token prompt")).toMatchObject({ measured: null, met: null });
});

test("targets of reading speed are left out where computing is what takes the time", () => {
  const fast = suite.map((one) =>
    one.contender === demandOnly ? measured(half, demandOnly, [run(ours, 60, { bytesRead: 1e8 })]) : one,
  );
  const names = judgeTargets(resultRows(fast), "next-use", computeAloneMs(fast)).map(({ name }) => name);
  expect(names).not.toContain("reading speed over the device's at 50 %");
});

test("cold starts are judged prompt by prompt: the first token's time, and no byte of the model too many", () => {
  const judged = [8, 64].flatMap((promptTokens) => {
    const cold = { ...cell("cold", 0.33, [stock, ours]), promptTokens };
    const bytes =
      promptTokens === 8 ? firstPrompt({}) : firstPrompt({ readBytes: 3.1e9, rule: "once per micro-batch" });
    const rows = resultRows([
      measured(cold, stock, [run(stock, 10, { ttftMs: 10_000 })]),
      measured(cold, ours, [run(ours, 10, { ttftMs: 6000, firstPrompt: bytes })]),
    ]);
    return judgeTargets(rows, "next-use", {}).filter(({ measured: value }) => value !== null);
  });
  expect(judged.map(({ name, wanted, met }) => [name, wanted, met])).toEqual([
    ["first token over llama.cpp's, cold, 8-token prompt", "<= 0.5", false],
    ["model bytes before it over dense weights and each of its experts once, cold, 8-token prompt", "<= 1", true],
    ["first token over llama.cpp's, cold, 64-token prompt", "<= 0.7", true],
    [
      "model bytes before it over dense weights and each of its experts once per micro-batch, cold, 64-token prompt",
      "<= 1",
      false,
    ],
  ]);
});
