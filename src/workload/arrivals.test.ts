import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { ONLINE_SERVING, poissonArrivals, withArrivals } from "./arrivals.ts";
import { readAzureArrivals } from "./azure-arrivals.ts";
import type { Prompt } from "./prompt.ts";

const folder = mkdtempSync(join(tmpdir(), "arrivals-"));
afterAll(() => rmSync(folder, { recursive: true }));

describe("arrivals at a rate", () => {
  const gapsOf = (arrivals: readonly { arrivalMs: number }[]) =>
    arrivals.slice(1).map(({ arrivalMs }, i) => arrivalMs - arrivals[i].arrivalMs);

  test("have exponential gaps of that mean", () => {
    const gaps = gapsOf(poissonArrivals({ requests: 20_001, perSecond: 4 }));
    const mean = gaps.reduce((sum, gap) => sum + gap, 0) / gaps.length;
    // 250 ms; the deviation of the mean is 1.8 ms.
    expect(Math.abs(mean - 250)).toBeLessThan(10);
    // Of exponential gaps, exp(-1) are longer than the mean and exp(-3) longer than three.
    const longer = (ms: number) => gaps.filter((gap) => gap > ms).length / gaps.length;
    expect(longer(250)).toBeCloseTo(Math.exp(-1), 1);
    expect(longer(750)).toBeCloseTo(Math.exp(-3), 1.5);
    expect(Math.min(...gaps)).toBeGreaterThanOrEqual(0);
  });

  test("begin at 0, are the same for a seed, and 256 take a minute and a half at the paper's rate", () => {
    const arrivals = poissonArrivals(ONLINE_SERVING);
    expect(arrivals).toHaveLength(256);
    expect(arrivals[0].arrivalMs).toBe(0);
    expect(poissonArrivals({ ...ONLINE_SERVING, seed: 0 })).toEqual(arrivals);
    expect(poissonArrivals({ ...ONLINE_SERVING, seed: 1 })).not.toEqual(arrivals);
    expect(Math.abs(arrivals[255].arrivalMs - 255e3 / 2.91)).toBeLessThan(20e3);
  });

  test("need a rate", () => {
    for (const perSecond of [0, -1, Number.NaN, Number.POSITIVE_INFINITY])
      expect(() => poissonArrivals({ requests: 2, perSecond })).toThrow("rate");
  });
});

describe("arrivals of a trace of Azure's shape", () => {
  let made = 0;
  function file(text: string): string {
    const path = join(folder, `azure-${made++}.csv`);
    writeFileSync(path, text);
    return path;
  }
  const HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens";

  test("of 2023, with seven digits of a second", async () => {
    const text = `${HEADER}\n2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:47.6810900,396,109\n2023-11-16 18:16:46.6805900,879,55\n`;
    const arrivals = await readAzureArrivals(file(text));
    expect(arrivals.map(({ promptTokens, outputTokens }) => [promptTokens, outputTokens])).toEqual([
      [374, 44],
      [396, 109],
      [879, 55],
    ]);
    expect(arrivals[0].arrivalMs).toBe(0);
    expect(arrivals[1].arrivalMs).toBeCloseTo(1000.5, 2);
    expect(arrivals[2].arrivalMs).toBeCloseTo(60_000, 2);
  });

  test("of 2024, with a zone, across midnight and in another order of columns", async () => {
    const text = `\uFEFFGeneratedTokens,TIMESTAMP,ContextTokens\r\n1,2024-05-11 23:59:59.500000+00:00,2\r\n3,2024-05-12 02:00:00.25+02:00,4\r\n`;
    const arrivals = await readAzureArrivals(file(text));
    expect(arrivals[1]).toMatchObject({ promptTokens: 4, outputTokens: 3 });
    expect(arrivals[1].arrivalMs).toBeCloseTo(750, 2);
  });

  test("are stretched to a rate, and read no further than wanted", async () => {
    const path = file(`${HEADER}\n2023-11-16 18:00:00,1,1\n2023-11-16 18:00:10,1,1\n2023-11-16 18:00:40,1,1\nnonsense`);
    const arrivals = await readAzureArrivals(path, { requests: 3, perSecond: 0.5 });
    expect(arrivals.map(({ arrivalMs }) => arrivalMs)).toEqual([0, 1000, 4000]);
  });

  test.each([
    ["no header", "2023-11-16 18:00:00,1,1\n", 1, "must name"],
    ["no time", `${HEADER}\nyesterday,1,1`, 2, "is no time"],
    ["no counts", `${HEADER}\n2023-11-16 18:00:00,1,many`, 2, "counts of tokens"],
    ["too few fields", `${HEADER}\n2023-11-16 18:00:00,1`, 2, "counts of tokens"],
    ["going back", `${HEADER}\n2023-11-16 18:00:01,1,1\n2023-11-16 18:00:00,1,1`, 3, "before the request"],
    ["nothing", HEADER, undefined, "0 requests"],
  ])("with %s are refused by line", async (_, text, line, message) => {
    const path = file(text);
    await expect(readAzureArrivals(path)).rejects.toMatchObject({
      name: "WorkloadError",
      place: line === undefined ? { file: path } : { file: path, line },
      message: expect.stringContaining(message),
    });
  });

  test("that cannot be read say so", async () => {
    await expect(readAzureArrivals(join(folder, "none.csv"))).rejects.toMatchObject({ kind: "unreadable" });
  });
});

test("prompts become requests with arrivals, and lengths where wanted", () => {
  const prompts: Prompt[] = [
    { id: "a", domain: "x", content: "A", outputTokens: 9 },
    { id: "b", domain: "x", content: "B" },
  ];
  const arrivals = [{ arrivalMs: 0, outputTokens: 3 }, { arrivalMs: 5, outputTokens: 0 }, { arrivalMs: 6 }];
  expect(withArrivals(prompts, arrivals)).toEqual([
    { ...prompts[0], arrivalMs: 0 },
    { ...prompts[1], arrivalMs: 5 },
  ]);
  const long = withArrivals(prompts, arrivals, { lengths: true });
  expect(long.map(({ outputTokens }) => outputTokens)).toEqual([3, 1]);
  expect(() => withArrivals(prompts, arrivals.slice(0, 1))).toThrow("2 prompts need as many arrivals, not 1");
});
