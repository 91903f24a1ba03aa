import { expect, test } from "vitest";
import { keptDocument, type TuningDocument } from "./kept-document.ts";

const cache = (expertsPerLayer: number, policy = "lru") => ({
  ...{ scope: "layer", policy, accounting: "set", expertsPerLayer },
  hitRate: { value: 1 / 3, interval: [0.123456789, 2] },
});

test("of the caches the deployment's stays, numbers get five digits, files lose folders", () => {
  const document = {
    out: "/somewhere/tuned.gguf",
    steps: 123_456,
    evaluation: {
      deploymentExperts: 16,
      variants: [
        { forced: { reuseAtLag: [1, 2], caches: [cache(8), cache(16, "belady"), cache(16)] }, generated: null },
      ],
    },
  } as unknown as TuningDocument;
  expect(keptDocument(document)).toEqual({
    out: "tuned.gguf",
    steps: 123_456,
    evaluation: {
      deploymentExperts: 16,
      variants: [
        {
          forced: { caches: [{ ...cache(16), hitRate: { value: 0.33333, interval: [0.12346, 2] } }] },
          generated: null,
        },
      ],
    },
  });
  expect(keptDocument({ evaluation: null } as unknown as TuningDocument)).toEqual({ evaluation: null });
});
