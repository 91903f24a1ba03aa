import * as fc from "fast-check";
import { expect, test } from "vitest";
import { compactJson } from "./compact-json.ts";

test("any value is what it was", () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      expect(JSON.parse(compactJson(value))).toEqual(JSON.parse(JSON.stringify(value)));
    }),
  );
});

test("a list of numbers is one line", () => {
  expect(compactJson({ a: [1, -2.5, 3e-7], b: "[1,\n2]" })).toBe('{\n  "a": [1, -2.5, 3e-7],\n  "b": "[1,\\n2]"\n}');
});
