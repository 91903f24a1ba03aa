import { expect, test } from "vitest";
import { alternatingOrder, contenderName, planSuite } from "./suite-plan.ts";

test("the standard suite measures every promise against llama.cpp under the same conditions", () => {
  const cells = planSuite({ policies: ["next-use", "lru"] });
  expect(cells.map(({ scenario, memoryFraction, promptTokens }) => [scenario, memoryFraction, promptTokens])).toEqual([
    ["fits", 1.25, 8],
    ["limited", 0.5, 8],
    ["limited", 0.33, 8],
    ["limited", 0.2, 8],
    ["cold", 0.33, 8],
    ["cold", 0.33, 64],
  ]);
  for (const { contenders } of cells) expect(contenders[0]).toEqual({ system: "llama.cpp" });
  expect(cells[1].contenders.map(contenderName)).toEqual([
    "llama.cpp",
    "warmset next-use",
    "warmset lru",
    "warmset next-use without prefetch",
  ]);
});

test("a short suite has the limits only", () => {
  const cells = planSuite({ memoryFractions: [0.4], policies: ["lru"], complete: false });
  expect(cells.map(({ contenders }) => contenders.map(contenderName))).toEqual([["llama.cpp", "warmset lru"]]);
});

test("every contender is first as often as last", () => {
  const [, { contenders }] = planSuite({ policies: ["lru"] });
  const firsts = [0, 1, 2, 3].map((repetition) => contenderName(alternatingOrder(contenders, repetition)[0]));
  expect(firsts).toEqual(["llama.cpp", "warmset lru without prefetch", "llama.cpp", "warmset lru without prefetch"]);
});

test("a warm-up that leaves nothing to count is refused", () => {
  expect(() => planSuite({ policies: ["lru"], decodeTokens: 32 })).toThrow(RangeError);
  expect(planSuite({ policies: ["lru"], decodeTokens: 33 }).length).toBe(6);
});
