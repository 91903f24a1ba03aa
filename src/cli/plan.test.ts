import { describe, expect, test } from "vitest";
import { warmset } from "./command-line.test-data.ts";

interface PlanOutput {
  readonly possible: boolean;
  readonly fits: boolean;
  readonly smallestBudgetBytes: number;
  readonly budgetBytes: number | null;
  readonly [part: string]: unknown;
}

const plan = async (...args: readonly string[]) => {
  const { exitCode, stdout } = await warmset(["plan", "demo", "--json", ...args]);
  return { exitCode, plan: JSON.parse(stdout) as PlanOutput };
};

describe("plan --json", () => {
  test("parts of a budget that streams add up to it", async () => {
    const { plan: roomy } = await plan("--memory", "1GiB");
    expect(roomy).toMatchObject({ possible: true, fits: true, resident: true });
    const budgetBytes = roomy.smallestBudgetBytes + 8 * 2 ** 20;
    const { exitCode, plan: tight } = await plan("--memory", String(budgetBytes), "--disk", "1.5");
    expect(exitCode).toBe(0);
    expect(tight).toMatchObject({ possible: true, fits: false, resident: false, budgetBytes });
    const part = (name: string) => tight[name] as number;
    const names = [
      "processBytes",
      "denseBytes",
      "kvBytes",
      "computeBytes",
      "marginBytes",
      "sharedEdgeBytes",
      "expertBudgetBytes",
    ];
    expect(names.reduce((sum, name) => sum + part(name), 0)).toBe(budgetBytes);
    expect(tight.estimate).toMatchObject({ bottleneck: "reads", diskSource: "given", diskBytesPerSecond: 1.5e9 });
  });

  test("a budget that is too small is answered with the smallest that works, which does", async () => {
    const { exitCode, plan: refused } = await plan("--memory", "20MiB");
    expect(exitCode).toBe(4);
    expect(refused).toMatchObject({ possible: false, fits: false, budgetBytes: 20 * 2 ** 20 });
    // Processes are measured anew each time; a few MiB of difference are theirs.
    const again = await plan("--memory", String(refused.smallestBudgetBytes + 16 * 2 ** 20));
    expect(again).toMatchObject({ exitCode: 0, plan: { possible: true } });
  });
});

test("the text names the bottleneck and calls estimates estimates", async () => {
  const { exitCode, stdout } = await warmset(["plan", "demo", "--expert-memory", "25%"]);
  expect(exitCode).toBe(0);
  expect(stdout).toMatch(/bottleneck: reading experts.*(measured|unknown).*Estimates:\n.*worst case\n/s);
  expect((await warmset(["plan", "demo", "--memory", "all"])).stdout).toMatch(/Everything fits/);
});
