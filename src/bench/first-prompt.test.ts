import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { openSession } from "../engine/open-session.ts";
import { openGguf, readMoeLayout } from "../gguf/index.ts";
import { lru } from "../policy/lru.ts";
import { firstPromptBytes, PromptExperts } from "./first-prompt.ts";

const modelPath = fileURLToPath(new URL("../../models/demo-moe-q8_0.gguf", import.meta.url));
const { expertBytesTotal } = readMoeLayout(openGguf(modelPath));
const prompt = Int32Array.from({ length: 24 }, (_, i) => 100 + 7 * i);

function firstPrompt(expertShare: number, microBatchTokens: number) {
  const policy = lru();
  const experts = new PromptExperts(policy);
  using session = openSession(modelPath, {
    memory: { kind: "experts", bytes: Math.floor(expertShare * expertBytesTotal) },
    policy,
    microBatchTokens,
    threads: 1,
  });
  session.feed(prompt, 0);
  experts.stop();
  const readBytes = session.statistics().bytesRead;
  const used = experts.uses.size;
  session.feed([5], prompt.length);
  expect(experts.uses.size).toBe(used);
  return { ...firstPromptBytes(modelPath, session.plan, experts, readBytes), cache: session.statistics().cache };
}

test("a prompt of one micro-batch reads dense weights and each of its experts once, to the byte", () => {
  const figures = firstPrompt(0.5, 64);
  expect(figures).toMatchObject({ rule: "once", microBatches: 1 });
  expect(figures.readBytes).toBe(figures.neededBytes);
  expect(figures.experts).toBeGreaterThan(50);
});

test("where several micro-batches need more than fits, each may read its experts once", () => {
  const figures = firstPrompt(0.25, 4);
  expect(figures).toMatchObject({ rule: "once per micro-batch", microBatches: 6 });
  expect(figures.readBytes).toBeLessThanOrEqual(figures.neededBytes);
  expect(figures.neededBytes).toBeGreaterThan(firstPrompt(0.5, 64).neededBytes);
});
