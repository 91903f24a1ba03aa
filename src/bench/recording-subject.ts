/** The program of a process of the recording bench: one message on stdin, how long its batches took on stdout. */
import { openSession } from "../engine/open-session.ts";
import { DEFAULT_POLICY } from "../engine/options.ts";
import { Batch } from "../llama/index.ts";
import { dieWithParent } from "../memory/libc.ts";
import type { RecordingJob } from "../trace/record/recording-job.ts";
import { planRecording } from "../trace/record/recording-plan.ts";
import { runRecording } from "../trace/record/run-recording.ts";
import { readMessage, writeResult } from "./child-message.ts";
import { peakRssBytes } from "./process-figures.ts";
import type { RecordingMessage, RecordingRun } from "./recording-protocol.ts";

/** As the recorder's own. */
const BATCH_TOKENS = 512;

dieWithParent();
const message = readMessage() as RecordingMessage;
const job: RecordingJob = {
  model: message.modelPath,
  texts: message.texts.map((path) => ({ path })),
  directory: message.directory,
  resume: false,
  sampleLength: message.sampleLength,
  samples: message.samples,
  generate: undefined,
  probs: false,
  hidden: false,
  engine: {
    memory: { kind: "all" },
    policy: DEFAULT_POLICY,
    microBatchTokens: BATCH_TOKENS,
    threads: message.threads,
    backend: undefined,
    io: undefined,
    reservedBytes: 0,
    verbose: false,
  },
};

const now = () => performance.timeOrigin + performance.now();

async function record(): Promise<RecordingRun> {
  const { tokensNow, recordingMs } = await runRecording(job);
  const toMs = now();
  return { tokens: tokensNow, fromMs: toMs - recordingMs, toMs, peakRssBytes: peakRssBytes() };
}

function compute(allLogits: boolean): RecordingRun {
  const { sampleLength, threads } = message;
  const sideBySide = Math.max(1, Math.floor(BATCH_TOKENS / sampleLength));
  const batchTokens = Math.min(BATCH_TOKENS, sideBySide * sampleLength);
  using session = openSession(message.modelPath, {
    contextSize: sampleLength,
    maxSequences: sideBySide,
    microBatchTokens: batchTokens,
    maxOutputs: batchTokens,
    threads,
  });
  const { samples } = planRecording(job);
  using batch = new Batch({ capacity: batchTokens });
  const tokenIds = new Int32Array(batchTokens);
  let tokens = 0;
  const fromMs = now();
  for (let next = 0; next < samples.length; next += sideBySide) {
    session.context.clear();
    const group = samples.slice(next, next + sideBySide).map((sample) => sample.tokens());
    for (let from = 0; from < sampleLength; from += batchTokens) {
      batch.clear();
      for (const [sequence, ids] of group.entries())
        for (let i = from; i < Math.min(from + batchTokens, sampleLength); i++)
          batch.add(ids[i], i, sequence, allLogits || i === sampleLength - 1);
      session.decode(batch, "prefill", tokenIds.subarray(0, batch.length));
      tokens += batch.length;
    }
  }
  return { tokens, fromMs, toMs: now(), peakRssBytes: peakRssBytes() };
}

writeResult(message.mode === "recorded" ? await record() : compute(message.mode === "untraced"));
