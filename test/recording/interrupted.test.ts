/** Recordings that end before their time, and are gone on with: killed, aborted, stopped at the terminal. */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { childrenOf, computed, PROGRAM } from "../../src/cli/command-line.test-data.ts";
import { type RecordTraceOptions, recordTrace } from "../../src/trace/record/record-trace.ts";
import type { TraceSample } from "../../src/trace/trace.ts";
import { openTrace } from "../../src/trace/trace-reader.ts";
import { makeTinyModel, tinyModel } from "../tiny-models/index.ts";
import { readAll } from "./recording.ts";

const DEMO_MODEL = join(import.meta.dirname, "../../models/demo-moe-q8_0.gguf");
const TEXTS = ["prose", "python"].map((name) => join(import.meta.dirname, `../../models/text/${name}.txt`));
const SAMPLES = 60;
/** Small batches make a recording of a few seconds, and many places to end it at. */
const SETTINGS = { sampleLength: 64, samples: SAMPLES / 2, microBatchTokens: 16, threads: 1 } as const;
const ARGUMENTS = ["--sample-length", "64", "--samples", "30", "--ubatch-size", "16", "--threads", "1"];

const folder = mkdtempSync(join(tmpdir(), "recording-interrupted-"));
afterAll(() => rmSync(folder, { recursive: true }));

const gone = (pid: number) => expect.poll(() => existsSync(`/proc/${pid}`), { timeout: 10_000 }).toBe(false);

function record(directory: string, more: Partial<RecordTraceOptions> = {}) {
  return recordTrace({ model: DEMO_MODEL, texts: TEXTS, directory, memory: "all", ...SETTINGS, ...more });
}

/** All but the numbers of the passes, which go on differently behind an interruption. */
const content = ({ batches: _, ...rest }: TraceSample) => rest;

let whole: readonly TraceSample[];
beforeAll(async () => {
  const directory = join(folder, "whole");
  const summary = await record(directory);
  expect(summary).toMatchObject({ samples: SAMPLES, tokens: SAMPLES * 64, tokensNow: SAMPLES * 64 });
  whole = (await readAll(directory)).samples;
}, 60_000);

/** Resumes and compares with the recording that was not interrupted; returns how many samples were there before. */
async function goOn(directory: string, more: Partial<RecordTraceOptions> = {}): Promise<number> {
  const before = existsSync(join(directory, "trace.json")) ? await openTrace(directory) : undefined;
  const samples = before?.parts.reduce((sum, part) => sum + part.samples, 0) ?? 0;
  const summary = await record(directory, { resume: true, ...more });
  expect(summary).toMatchObject({ samples: SAMPLES, tokens: SAMPLES * 64, tokensNow: (SAMPLES - samples) * 64 });
  const after = await readAll(directory);
  expect(after.samples.map(content)).toEqual(whole.map(content));
  for (const { batches } of after.samples)
    expect(Array.from(batches)).toEqual(Array.from(batches).sort((a, b) => a - b));
  expect((await openTrace(directory)).unfinished).toBeUndefined();
  return samples;
}

/** The command in a process of its own, once it has recorded something. */
async function startCommand(
  directory: string,
): Promise<{ child: ChildProcess; recorder: number; stderr: () => string }> {
  const child = spawn(
    process.execPath,
    [PROGRAM, "trace", DEMO_MODEL, "--text", ...TEXTS, "--out", directory, "--memory", "all", ...ARGUMENTS],
    { stdio: ["ignore", "pipe", "pipe"] },
  );
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  // It is made when the first batch was computed.
  const isStarted = () => existsSync(join(directory, "trace.json")) || child.exitCode !== null;
  await expect.poll(isStarted, { timeout: 20_000 }).toBe(true);
  expect(stderr).not.toContain("rror");
  const [recorder] = childrenOf(child.pid!);
  return { child, recorder, stderr: () => stderr };
}

const ended = (child: ChildProcess) =>
  new Promise<{ code: number | null; signal: string | null }>((resolve) =>
    child.once("close", (code, signal) => resolve({ code, signal })),
  );

describe("a recording that is killed", () => {
  test.each([0, 500])(
    "%i ms of computing after its first batch is readable, names what is missing, and goes on",
    async (cpuMs) => {
      const directory = join(folder, `killed-${cpuMs}`);
      const { child, recorder } = await startCommand(directory);
      await computed(recorder, cpuMs);
      child.kill("SIGKILL");
      await ended(child);
      await gone(recorder);
      const { unfinished } = await openTrace(directory);
      expect(unfinished).toMatch(/^Samples \d+ to 59 were not finished\.$/);
      const { samples } = await readAll(directory);
      expect(samples.map(content)).toEqual(whole.slice(0, samples.length).map(content));
      expect(await goOn(directory)).toBe(samples.length);
    },
  );

  test("in the recorder's own process says so, with the parts that are there", async () => {
    const directory = join(folder, "recorder-killed");
    const { child, recorder, stderr } = await startCommand(directory);
    process.kill(recorder, "SIGKILL");
    expect(await ended(child)).toMatchObject({ code: 1 });
    expect(stderr()).toContain("ended with SIGKILL");
    await goOn(directory);
  });
});

describe("a recording that is stopped", () => {
  test("at the terminal keeps its whole samples and says how to go on", async () => {
    const directory = join(folder, "stopped");
    const { child, recorder, stderr } = await startCommand(directory);
    // A few samples: all of them take ten times as long.
    await computed(recorder, 500);
    child.kill("SIGINT");
    expect(await ended(child)).toMatchObject({ code: 130 });
    await gone(recorder);
    const kept = /^(\d+) of 60 samples are in .*--resume goes on from there\.$/m.exec(stderr());
    expect(kept).not.toBeNull();
    // No temporary file is left behind.
    const files = readdirSync(directory, { recursive: true, encoding: "utf8" });
    expect(files.filter((name) => name.endsWith(".tmp"))).toEqual([]);
    expect(await goOn(directory)).toBe(Number(kept![1]));
  });

  test("by its signal rejects with the reason, before, while loading and while recording", async () => {
    const reason = new Error("enough");
    await expect(record(join(folder, "a"), { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    const loading = new AbortController();
    await expect(
      record(join(folder, "b"), { signal: loading.signal, onLoad: () => loading.abort(reason) }),
    ).rejects.toBe(reason);
    expect(existsSync(join(folder, "b"))).toBe(false);
    const recording = new AbortController();
    const directory = join(folder, "c");
    const running = record(directory, {
      signal: recording.signal,
      onProgress: ({ samples }) => samples >= 8 && recording.abort(reason),
    });
    await expect(running).rejects.toBe(reason);
    expect(await goOn(directory)).toBeGreaterThanOrEqual(8);
  });
});

describe("a trace that is there", () => {
  test("is not overwritten", async () => {
    await expect(record(join(folder, "whole"))).rejects.toMatchObject({ name: "TraceError", kind: "exists" });
  });

  test("is not resumed when it is finished", async () => {
    await expect(record(join(folder, "whole"), { resume: true })).rejects.toMatchObject({
      name: "TraceError",
      data: { kind: "not-resumable" },
    });
  });

  test("is not resumed with other texts, settings, columns or models, and stays as it is", async () => {
    const stop = new AbortController();
    const directory = join(folder, "other");
    const onProgress = ({ samples }: { samples: number }) => samples >= 4 && stop.abort();
    await expect(record(directory, { signal: stop.signal, onProgress })).rejects.toThrow();
    const other = { name: "RecordingInputError", data: { kind: "other-recording" } };
    const resumed = (more: Partial<RecordTraceOptions>) => record(directory, { resume: true, ...more });
    await expect(resumed({ texts: [...TEXTS].reverse() })).rejects.toMatchObject(other);
    await expect(resumed({ sampleLength: 65 })).rejects.toMatchObject(other);
    await expect(resumed({ samples: 29 })).rejects.toMatchObject(other);
    await expect(resumed({ texts: [TEXTS[0], { path: TEXTS[1], domain: "code" }] })).rejects.toMatchObject(other);
    await expect(resumed({ generate: { tokens: 4 } })).rejects.toMatchObject(other);
    const unfit = { name: "TraceError", data: { kind: "not-resumable" } };
    await expect(resumed({ probs: true })).rejects.toMatchObject(unfit);
    const model = await makeTinyModel(folder, tinyModel("mixtral"));
    await expect(resumed({ model })).rejects.toMatchObject(unfit);
    expect(await goOn(directory)).toBeGreaterThanOrEqual(4);
  });
});

test("resuming where nothing was recorded yet starts a recording", async () => {
  expect(await goOn(join(folder, "fresh"))).toBe(0);
});
