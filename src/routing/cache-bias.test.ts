import { describe, expect, test } from "vitest";
import {
  AUTO_FIRST_LAMBDA,
  AUTO_ROUTE_KL,
  CacheBiasError,
  checkCacheSize,
  describeCacheBias,
  parseCacheBias,
} from "./cache-bias.ts";

describe("the texts of a cache bias", () => {
  test.each([
    [undefined, undefined, undefined, undefined],
    ["off", undefined, undefined, undefined],
    ["0", undefined, undefined, undefined],
    ["0.0", undefined, undefined, undefined],
    ["0.1", undefined, undefined, { rule: { kind: "prior", lambda: 0.1 } }],
    ["0.1", "prior", 2, { rule: { kind: "prior", lambda: 0.1 }, alwaysKeep: 2 }],
    ["auto", undefined, undefined, { rule: { kind: "prior", lambda: AUTO_FIRST_LAMBDA }, routeKlBound: AUTO_ROUTE_KL }],
    ["auto:0.02", undefined, undefined, { rule: { kind: "prior", lambda: AUTO_FIRST_LAMBDA }, routeKlBound: 0.02 }],
    [undefined, "max-rank:12", undefined, { rule: { kind: "max-rank", ranks: 12 } }],
    [
      "auto:0.02",
      "cumulative-mass:0.9",
      0,
      { rule: { kind: "cumulative-mass", mass: 0.9 }, alwaysKeep: 0, routeKlBound: 0.02 },
    ],
  ] as const)("%s %s %s", (strength, rule, keep, expected) => {
    expect(parseCacheBias(strength, rule, keep)).toEqual(expected);
  });

  test.each([
    ["1.5", undefined, /0 to 1/],
    ["-0.1", undefined, /0 to 1/],
    ["", undefined, /0 to 1/],
    ["auto:0", undefined, /above 0/],
    ["auto:x", undefined, /above 0/],
    ["0.1", "max-rank:12", /no strength 0.1/],
    [undefined, "max-rank:0", /There is no rule max-rank:0/],
    [undefined, "max-rank", /There is no rule/],
    [undefined, "cumulative-mass:2", /0 to 1/],
    ["0.1", "prior:3", /no strength|There is no rule/],
    [undefined, "nearest", /There are prior/],
  ])("%s %s is refused", (strength, rule, message) => {
    expect(() => parseCacheBias(strength, rule)).toThrow(CacheBiasError);
    expect(() => parseCacheBias(strength, rule)).toThrow(message);
  });

  test("say what was asked for", () => {
    const said = (strength?: string, rule?: string) => {
      const bias = parseCacheBias(strength, rule);
      return bias && describeCacheBias(bias);
    };
    expect(said("0.1")).toBe("prior 0.1, best 1 kept");
    expect(said("auto:0.02")).toBe("prior auto, best 1 kept, route KL at most 0.02");
    expect(said(undefined, "max-rank:12")).toBe("max-rank:12, best 1 kept");
  });
});

describe("the size of the cache", () => {
  const prior = (lambda: number) => ({ rule: { kind: "prior", lambda } }) as const;

  test("of twice what a token uses takes any lambda, and the output is said to change", () => {
    expect(checkCacheSize(prior(1), 8, 4)).toEqual([expect.stringMatching(/not the model's own/)]);
  });

  test("below that refuses large ones and warns of others", () => {
    expect(() => checkCacheSize(prior(0.31), 7.9, 4)).toThrow(/fewer than twice the 4 .* Give 0.3 at most/);
    expect(checkCacheSize(prior(0.3), 7.9, 4)).toEqual([
      expect.any(String),
      expect.stringMatching(/costs quality quickly/),
    ]);
    expect(checkCacheSize({ ...prior(0.8), evenOnTheCliff: true }, 4, 4)).toHaveLength(2);
  });

  test("keeps no more experts than a token uses", () => {
    expect(() => checkCacheSize({ ...prior(0.1), alwaysKeep: 5 }, 32, 4)).toThrow(/5 of them cannot be kept/);
  });
});
