import { expect, test } from "vitest";
import { splitPolicyNames } from "./policy-switches.ts";

test("in a list of policies a switch belongs to the name before it", () => {
  expect(splitPolicyNames("lru")).toEqual(["lru"]);
  expect(splitPolicyNames("lru,finemoe:distance=3,queue=8,lfu")).toEqual(["lru", "finemoe:distance=3,queue=8", "lfu"]);
  expect(splitPolicyNames("a:x=1,b:y=2,z=3+next-gate,c")).toEqual(["a:x=1", "b:y=2,z=3+next-gate", "c"]);
  // Not a switch of anything: left to be refused as a name.
  expect(splitPolicyNames("x=1,lru")).toEqual(["x=1", "lru"]);
});
