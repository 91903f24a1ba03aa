/**
 * The program of one run: given text through one variant under a budget, with the untuned model's predictions of the same
 * tokens beside it. So time, bytes and quality are those of the very same routing: which experts are swapped
 * depends on what is in memory, and what is in memory on what was read in time.
 */
import { openGguf, readMoeLayout } from "../../gguf/index.ts";
import { dieWithParent } from "../../memory/libc.ts";
import { policyByName } from "../../policy/index.ts";
import { measureDrift, recordBase } from "../../routing/measure-drift.ts";
import { readMessage, writeResult } from "../child-message.ts";
import type { ForcedFigures, ForcedJob } from "./forced-run-protocol.ts";

dieWithParent();
writeResult(await run(readMessage() as ForcedJob));

async function run(job: ForcedJob): Promise<ForcedFigures> {
  const { baseModel, model, texts, threads, microBatchTokens } = job;
  const common = { threads, microBatchTokens };
  const base = await recordBase(baseModel, texts, common);
  using logits = base.logits;
  const { expertBytesTotal } = readMoeLayout(openGguf(model));
  const drift = await measureDrift(model, texts, logits, {
    ...common,
    memory: { kind: "experts", bytes: Math.floor(job.cacheShare * expertBytesTotal) },
    policy: policyByName(job.policy),
    router: job.router,
    cacheBias: job.cacheBias,
  });
  const { tokens, meanKl, p99Kl, top1Agreement, perplexity, basePerplexity, lossChangeError, run: costs } = drift;
  const { hitRate, missesPerToken, bytesPerToken, msPerToken, cacheBias } = costs;
  if (bytesPerToken === 0) throw new Error("nothing was read: with this budget there is nothing to compare");
  return {
    ...{ tokens, meanKl, p99Kl, top1Agreement, perplexity, perplexityChange: perplexity / basePerplexity - 1 },
    perplexityError: lossChangeError,
    ...{ hitRate, missesPerToken, bytesPerToken, msPerToken, swapRate: cacheBias?.swapRate ?? null },
  };
}
