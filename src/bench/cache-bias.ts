/**
 * `npm run bench:cache-bias`: what routing that prefers resident experts saves and what it costs, over strengths and sizes of
 * the cache. Held-out text, teacher-forced, against the model's own logits at the same tokens; each row starts with an
 * empty cache and keeps it from text to text.
 */
import { parseArgs } from "node:util";
import type { SessionOptions } from "../engine/options.ts";
import { openGguf, readMoeLayout } from "../gguf/index.ts";
import { policyByName } from "../policy/index.ts";
import { parseCacheBias } from "../routing/cache-bias.ts";
import { type MeasuredDrift, measureDrift, recordBase } from "../routing/measure-drift.ts";
import { DEMO_MODEL, heldOutTexts } from "./bench-model.ts";
import {
  keepResult,
  progress,
  properShare,
  resultFile,
  runBenchProgram,
  textTable,
  wholeNumber,
} from "./bench-program.ts";
import { cutWindows } from "./held-out.ts";
import { describeMachine } from "./machine.ts";
import { tokenizeTexts } from "./tokenize-texts.ts";

const HELP = `Usage: npm run bench:cache-bias -- [options]

  --model FILE     model (default: the demo model)
  --biases LIST    as --cache-bias and --cache-bias-rule take them
                   (default: off,0.05,0.1,0.2,0.4,0.8,auto,max-rank:6,max-rank:8,cumulative-mass:0.6)
  --shares LIST    expert memory, shares of all experts (default: 0.125,0.25,0.5)
  --keep N         best experts that are used in any case (default: 1)
  --policy NAME    what stays in memory (default: next-use+next-gate)
  --tokens N       forced tokens of all texts together (default: 2080)
  --threads N      threads that compute (default: 1; there is no stopwatch in these figures)
  --out FILE       where the figures are kept (default: bench/results/cache-bias.json)
  --json           print the figures as JSON
`;

/** Of the prompts that fill the cache first, unbiased. */
const PROMPT_TOKENS = 8;

interface Row extends MeasuredDrift {
  readonly bias: string;
  /** Expert memory as a share of all experts, and as experts per layer on average (C). */
  readonly share: number;
  readonly expertsPerLayer: number;
  /** perplexity / basePerplexity - 1. */
  readonly perplexityChange: number;
}

await runBenchProgram(async (signal) => {
  const { values } = parseArgs({
    options: {
      model: { type: "string", default: DEMO_MODEL },
      biases: { type: "string", default: "off,0.05,0.1,0.2,0.4,0.8,auto,max-rank:6,max-rank:8,cumulative-mass:0.6" },
      shares: { type: "string", default: "0.125,0.25,0.5" },
      keep: { type: "string", default: "1" },
      policy: { type: "string", default: "next-use+next-gate" },
      tokens: { type: "string", default: "2080" },
      threads: { type: "string", default: "1" },
      out: { type: "string", default: resultFile("cache-bias") },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return;
  }
  const { model, policy } = values;
  const layout = readMoeLayout(openGguf(model));
  const texts = cutWindows(tokenizeTexts(model, heldOutTexts()), {
    promptTokens: PROMPT_TOKENS,
    // The last token of a window is only predicted.
    decodeTokens: wholeNumber("--tokens", values.tokens, 1),
  });
  const common: SessionOptions = {
    threads: wholeNumber("--threads", values.threads, 1),
    // The same in all rows: a smaller one changes the rounding of prompts.
    microBatchTokens: PROMPT_TOKENS,
  };
  const keep = wholeNumber("--keep", values.keep);
  const shares = values.shares.split(",").map((share) => properShare("--shares", share));
  const biases = values.biases.split(",");
  const base = await recordBase(model, texts, common, { signal, onProgress: told("the model's own logits") });
  using logits = base.logits;
  const rows: Row[] = [];
  const result = () => ({
    kind: "cache-bias",
    date: new Date().toISOString(),
    machine: describeMachine(),
    ...{ policy, keep, expertsUsed: layout.expertsUsed, domains: texts.map(({ domain }) => domain) },
    complete: rows.length === shares.length * biases.length,
    rows,
  });
  for (const share of shares)
    for (const bias of biases) {
      const memory = { kind: "experts", bytes: Math.floor(share * layout.expertBytesTotal) } as const;
      const isRule = bias.includes("-");
      const parsed = parseCacheBias(isRule ? undefined : bias, isRule ? bias : undefined, keep);
      const session: SessionOptions = {
        ...{ ...common, memory, policy: policyByName(policy) },
        cacheBias: parsed && { ...parsed, evenOnTheCliff: true },
      };
      const name = `${(100 * share).toFixed(1)} %, ${bias}`;
      const drift = await measureDrift(model, texts, logits, session, { signal, onProgress: told(name) });
      const expertsPerLayer = share * layout.expertsPerLayer;
      rows.push({
        ...{ bias, share, expertsPerLayer, perplexityChange: drift.perplexity / drift.basePerplexity - 1 },
        ...drift,
      });
      keepResult(values.out, result());
    }
  process.stdout.write(values.json ? `${JSON.stringify(result())}\n` : `${table(rows)}\n`);
});

/** One line when a run begins and one when it ends, with its rate. */
function told(name: string): (done: number, total: number) => void {
  const start = performance.now();
  return (done, total) => {
    if (done === total) progress(`${name}: ${total} tokens in ${((performance.now() - start) / 1000).toFixed(1)} s`);
  };
}

function table(rows: readonly Row[]): string {
  const percent = (share: number) => (100 * share).toFixed(1);
  return textTable(
    [
      "bias",
      "memory %",
      "C",
      "hits %",
      "misses/token",
      "MB/token",
      "mean KL",
      "p99 KL",
      "top-1 %",
      "perplexity %",
      "swapped %",
      "agreement %",
      "route KL",
      "p99",
    ],
    rows.map(
      ({ bias, share, expertsPerLayer, run, meanKl, p99Kl, top1Agreement, perplexityChange, lossChangeError }) => [
        bias,
        percent(share),
        expertsPerLayer.toFixed(1),
        percent(run.hitRate),
        run.missesPerToken.toFixed(2),
        (run.bytesPerToken / 1e6).toFixed(2),
        meanKl.toFixed(4),
        p99Kl.toFixed(3),
        percent(top1Agreement),
        `${perplexityChange < 0 ? "" : "+"}${(100 * perplexityChange).toFixed(2)} ±${(100 * lossChangeError).toFixed(2)}`,
        percent(run.cacheBias?.swapRate ?? 0),
        percent(run.cacheBias?.agreement ?? 1),
        (run.cacheBias?.routeKlMean ?? 0).toFixed(4),
        (run.cacheBias?.routeKlP99 ?? 0).toFixed(4),
      ],
    ),
  );
}
