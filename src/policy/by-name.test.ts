import { describe, expect, test } from "vitest";
import { policyByName, policyNames, UnknownPolicyError } from "./by-name.ts";
import { PolicySwitchError } from "./policy-switches.ts";

describe("policies by name", () => {
  test("every known base has the name it is asked for by, alone and with additions", () => {
    for (const name of policyNames().filter((known) => !known.startsWith("+"))) {
      expect(policyByName(name).name).toBe(name);
      expect(policyByName(`${name}+next-gate`).name).toBe(`${name}+next-gate`);
      expect(policyByName(`${name}+next-gate`).needs.nextGate).toBe(true);
    }
    expect(policyByName("next-use").needs.nextGate).toBe(false);
  });

  test("the baselines' variants are switches", () => {
    for (const name of [
      "slru:protected=0.5",
      "least-stale:order=layer",
      "deepspeed:cache=off",
      "layer-stream:cache=on",
      "mixtral-offload:speculate=1,buffers=2",
      "moe-infinity:eamc=64,match=sum,replace=least-accessed",
    ])
      expect(policyByName(name).name).toBe(name.split(":")[0]);
    expect(policyByName("mixtral-offload:speculate=0").needs.nextGate).toBe(false);
    for (const name of [
      "slru:protected=2",
      "moe-infinity:match=all",
      "deepspeed:prefetch=on",
      "mixtral-offload:speculate=9",
    ])
      expect(() => policyByName(name)).toThrow(PolicySwitchError);
  });

  test("an unknown name is refused with the known ones", () => {
    for (const name of ["fifo", "lru+fifo", "", "lru+", "toString", "+next-gate"]) {
      expect(() => policyByName(name)).toThrow(UnknownPolicyError);
      expect(() => policyByName(name)).toThrow(/next-use.*\+next-gate/);
    }
  });
});
