import { expect, test } from "vitest";
import { inTurnByDomain } from "./in-turn.ts";

test("one of each domain, a second of each, until all are there", () => {
  const documents = [..."aaabcc"].map((domain, place) => ({ domain, place }));
  expect(inTurnByDomain(documents).map(({ domain, place }) => `${domain}${place}`)).toEqual([
    ...["a0", "b3", "c4", "a1", "c5", "a2"],
  ]);
  expect(inTurnByDomain([])).toEqual([]);
});
