import { expect, test } from "vitest";
import { loadDemoModel, logitsAfter, smallContext } from "./demo-model.test-data.ts";
import { loadLibraries } from "./index.ts";
import { attachThreadPool } from "./thread-pool.ts";

test("a context computes the same with a pool of its own, and without it again", () => {
  using model = loadDemoModel();
  const prompt = model.vocabulary.tokenize("Once upon a time");
  using plain = smallContext(model);
  const expected = logitsAfter(plain, prompt);
  using context = smallContext(model);
  const detach = attachThreadPool(loadLibraries(), context, { threads: 1, poll: 0 });
  expect(logitsAfter(context, prompt)).toEqual(expected);
  detach();
  context.clear();
  expect(logitsAfter(context, prompt)).toEqual(expected);
});
