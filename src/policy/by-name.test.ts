import { describe, expect, test } from "vitest";
import { policyByName, policyNames, UnknownPolicyError } from "./by-name.ts";

describe("policies by name", () => {
  test("every known base has the name it is asked for by, alone and with additions", () => {
    for (const name of policyNames().filter((known) => !known.startsWith("+"))) {
      expect(policyByName(name).name).toBe(name);
      expect(policyByName(`${name}+next-gate`).name).toBe(`${name}+next-gate`);
      expect(policyByName(`${name}+next-gate`).needs.nextGate).toBe(true);
    }
    expect(policyByName("next-use").needs.nextGate).toBe(false);
  });

  test("an unknown name is refused with the known ones", () => {
    for (const name of ["fifo", "lru+fifo", "", "lru+", "toString", "+next-gate"]) {
      expect(() => policyByName(name)).toThrow(UnknownPolicyError);
      expect(() => policyByName(name)).toThrow(/next-use.*\+next-gate/);
    }
  });
});
