import { expect, test } from "vitest";
import { ALL_BYTES, runOf } from "./bench-rows.test-data.ts";
import { comparePublished } from "./published.ts";
import { rowOf } from "./row.ts";

const times = { deepspeed: 100, "mixtral-offload": 50, promoe: 40, "moe-infinity": 35, finemoe: 30 };
const rows = (order: Record<string, number>) =>
  Object.entries(order).map(([policy, ms]) =>
    rowOf(runOf(policy, [ms, ms, ms], { mode: "offline" }), {
      ...{ expertBytesTotal: ALL_BYTES, floor: undefined, lru: undefined },
    }),
  );
const find = (list: ReturnType<typeof comparePublished>, name: string) => list.find((one) => one.name.includes(name));

test("the paper's order is recognised, and another one is said plainly", () => {
  expect(find(comparePublished(rows(times)), "TPOT, slowest first")?.agrees).toBe(true);
  const turned = find(comparePublished(rows({ ...times, finemoe: 60 })), "TPOT, slowest first");
  expect(turned).toMatchObject({ agrees: false, here: expect.stringContaining("deepspeed > finemoe") });
});

test("ratios say whether they point the same way", () => {
  const list = comparePublished(rows({ ...times, promoe: 20 }));
  expect(find(list, "TPOT of deepspeed")).toMatchObject({ published: "1.85", here: "3.33", agrees: true });
  expect(find(list, "TPOT of promoe")).toMatchObject({ published: "1.37", here: "0.67", agrees: false });
});

test("what did not run, or is not counted, is open", () => {
  const { deepspeed: _, ...without } = times;
  const list = comparePublished(rows(without));
  expect(find(list, "TPOT of deepspeed")).toMatchObject({ here: "–", agrees: null });
  expect(find(list, "coverage, best first")?.agrees).toBeNull();
  expect(comparePublished([])).toEqual([]);
});
