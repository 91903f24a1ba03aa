import { describe, expect, test } from "vitest";
import { STREAMING, warmset } from "./command-line.test-data.ts";
import type { RunDocument } from "./run-report.ts";

const story = ["run", "demo", ...STREAMING, "-p", "Tell me a story about a fox.", "--temp", "0", "-n", "24"];

async function document(...options: readonly string[]): Promise<RunDocument> {
  const { stdout, stderr } = await warmset([...story, "--json", ...options]);
  if (stdout === "") throw new Error(stderr);
  return JSON.parse(stdout) as RunDocument;
}

describe("run --cache-bias", () => {
  test("is off by default, and off or 0 is the same", async () => {
    const stock = await document();
    expect(stock).toMatchObject({ cacheBias: null, config: { cacheBias: "off" }, notes: [] });
    for (const off of ["off", "0"]) {
      const { tokens, cacheBias } = await document("--cache-bias", off);
      expect({ tokens, cacheBias }).toEqual({ tokens: stock.tokens, cacheBias: null });
    }
  });

  test("says in its figures and on stderr that the text is not the model's own", async () => {
    const { cacheBias, config, notes } = await document("--cache-bias", "0.2", "--cache-bias-keep", "2");
    expect(config.cacheBias).toBe("prior 0.2, best 2 kept");
    expect(cacheBias).toMatchObject({ tokens: 23, decisions: 23 * 8, slots: 23 * 32, lambda: 0.2, layersUnseen: 0 });
    expect(cacheBias?.swapRate).toBeGreaterThan(0);
    expect(cacheBias?.agreement).toBeLessThan(1);
    expect(cacheBias?.routeKlP99).toBeGreaterThan(cacheBias?.routeKlMean ?? 0);
    expect(notes).toEqual([expect.stringContaining("the output is not the model's own")]);
    const { stderr } = await warmset([...story, "--cache-bias-rule", "max-rank:8"]);
    expect(stderr).toMatch(/^note: Cache bias \(max-rank:8, best 1 kept\)/);
    expect(stderr).toMatch(/ {2}lossy {4}cache bias max-rank:8.*% of the experts swapped.*route KL/);
  });

  test("holds the bound of auto", async () => {
    const { cacheBias } = await document("--cache-bias", "auto:0.003");
    expect(cacheBias).toMatchObject({ routeKlBound: 0.003 });
    expect(cacheBias?.routeKlMean).toBeLessThanOrEqual(0.003);
    expect(cacheBias?.swaps).toBeGreaterThan(0);
  });

  test("has nothing to do when all experts are in memory", async () => {
    const { notes, cacheBias } = await document("--cache-bias", "0.2", "--expert-memory", "all");
    expect(cacheBias).toBeNull();
    expect(notes).toEqual([expect.stringContaining("nothing to prefer")]);
  });

  test("refuses what makes no sense, or would ruin the text", async () => {
    for (const [options, message] of [
      [["--cache-bias", "2"], "from 0 to 1"],
      [["--cache-bias-rule", "nearest"], "There are prior, max-rank:12"],
      [["--cache-bias-keep", "5", "--cache-bias", "0.1"], "5 of them cannot be kept"],
      [["--cache-bias", "0.4", "--expert-memory", "20%"], "Give 0.3 at most"],
    ] as const) {
      const { exitCode, stderr } = await warmset([...story, ...options]);
      expect({ exitCode, stderr }).toEqual({ exitCode: 2, stderr: expect.stringContaining(message) });
    }
  });
});
