import { expect, test } from "vitest";
import { offlineName, teachingName } from "./taught-policies.ts";

test("FineMoE learns from every token, and is tested with a store that stays as it is", () => {
  expect(teachingName("finemoe")).toBe("finemoe:record=token");
  expect(offlineName("finemoe")).toBe("finemoe:store=frozen");
  expect(offlineName("finemoe:distance=3+next-gate")).toBe("finemoe:distance=3,store=frozen+next-gate");
});

test("switches that do not change what is learned share it", () => {
  expect(teachingName("finemoe:distance=3,threshold=coverage")).toBe(teachingName("finemoe"));
  expect(teachingName("finemoe:capacity=125")).toBe("finemoe:capacity=125,record=token");
});

test("what a name says itself is kept", () => {
  expect(teachingName("finemoe:record=mean")).toBe("finemoe:record=mean");
  expect(offlineName("finemoe:store=online")).toBe("finemoe:store=online");
});

test("other policies keep their names", () => {
  for (const name of ["lru", "moe-infinity:match=sum", "next-use+next-gate"])
    expect([teachingName(name), offlineName(name)]).toEqual([name, name]);
});
