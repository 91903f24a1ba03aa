/** A recording that is killed, or that runs out of disk, leaves whole samples, says what is missing, and goes on. */
import { deepStrictEqual } from "node:assert";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { describeSyntheticTrace, syntheticSamples } from "../bench/synthetic-trace.ts";
import { compiledModule } from "../compiled-module.ts";
import { describeShape, PLAIN_SHAPE, samplesOf, writeSamples } from "./random-traces.test-data.ts";
import type { TraceSample } from "./trace.ts";
import { TraceError } from "./trace-error.ts";
import { openTrace } from "./trace-reader.ts";
import { createTrace, resumeTrace } from "./trace-writer.ts";

const OPTIONS = { layers: 4, experts: 32, expertsUsed: 4, sampleLength: 64 };
const TOKENS = 60 * OPTIONS.sampleLength;
const description = describeSyntheticTrace(OPTIONS);

let folder: string;
let directory: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), "warmset-interrupted-"));
  directory = path.join(folder, "trace");
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

async function readAll(from: string): Promise<TraceSample[]> {
  const trace = await openTrace(from);
  const samples: TraceSample[] = [];
  for (const { index } of trace.parts)
    for await (const sample of trace.samples(index, { weights: true, tokens: true, predictions: true }))
      samples.push(sample);
  return samples;
}

/** Writes samples without end, a few milliseconds each, the last one never whole, and tells when the first is on the disk. */
const ENDLESS = `
  import { createTrace, resumeTrace } from "${compiledModule(import.meta.url, "./trace-writer.js")}";
  import { describeSyntheticTrace, syntheticSamples } from "${compiledModule(import.meta.url, "../bench/synthetic-trace.js")}";
  const [directory, kind] = process.argv.slice(1);
  const options = ${JSON.stringify(OPTIONS)};
  const open = kind === "new" ? createTrace : resumeTrace;
  const writer = await open(directory, describeSyntheticTrace(options), { partBytes: 20_000, plannedSamples: 10_000 });
  let first = writer.samples;
  for (const sample of syntheticSamples(1e7, options)) {
    if (sample.sample < first) continue;
    writer.beginSample(sample.domain);
    await writer.append(sample);
    await writer.endSample();
    if (writer.safeSamples > first) { process.stdout.write("."); first = Infinity; }
    await new Promise((resolve) => setTimeout(resolve, 2));
  }`;

test("killed again and again, it loses nothing that was finished, and ends as if nothing had happened", {
  timeout: 120_000,
}, async () => {
  let safe = 0;
  for (let round = 0; round < 5; round++) {
    const args = ["--input-type=module", "-e", ENDLESS, directory, round === 0 ? "new" : "resume"];
    const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
    await once(child.stdout, "data");
    await sleep(Math.random() * 60);
    child.kill("SIGKILL");
    await once(child, "close");

    const samples = await readAll(directory);
    expect(samples.length).toBeGreaterThan(safe);
    safe = samples.length;
    deepStrictEqual(samples, [...syntheticSamples(safe * OPTIONS.sampleLength, OPTIONS)]);
    const { unfinished, parts } = await openTrace(directory);
    expect(unfinished).toBe(`Samples ${safe} to 9999 were not finished.`);
    for (const table of ["routing", "tokens"]) {
      const names = readdirSync(path.join(directory, table));
      // At most one that is being written, or one that was renamed but not listed any more.
      expect(names.length - parts.length).toBeLessThanOrEqual(1);
    }
  }
  const tokens = Math.max(TOKENS, (safe + 5) * OPTIONS.sampleLength);
  {
    await using writer = await resumeTrace(directory, description, { plannedSamples: safe + 5 });
    expect(writer.lost).toMatch(new RegExp(`^Samples ${safe} to`));
    expect(writer.samples).toBe(safe);
    expect(writer.tokens).toBe(safe * OPTIONS.sampleLength);
    await writeSamples(writer, [...syntheticSamples(tokens, OPTIONS)].slice(safe));
    await writer.finish();
  }
  expect((await openTrace(directory)).unfinished).toBeUndefined();
  deepStrictEqual(await readAll(directory), [...syntheticSamples(tokens, OPTIONS)]);
  for (const table of ["routing", "tokens"])
    expect(readdirSync(path.join(directory, table)).every((name) => /^part-\d{5}\.parquet$/.test(name))).toBe(true);
});

describe("a disk that is full:", () => {
  const disk = () => path.join(folder, "disk");
  /** Only root may mount, and not in every container. */
  const mounted = () => {
    mkdirSync(disk());
    try {
      execFileSync("mount", ["-t", "tmpfs", "-o", "size=2m", "tmpfs", disk()], { stdio: "ignore" });
      return statfsSync(disk()).type === 0x01021994;
    } catch {
      return false;
    }
  };
  afterEach(() => {
    if (existsSync(disk())) execFileSync("umount", [disk()], { stdio: "ignore" });
  });

  test("what was finished is readable, and the recording goes on when there is room", async (context) => {
    if (!mounted()) {
      rmSync(disk(), { recursive: true, force: true });
      context.skip("needs the right to mount a small disk");
    }
    directory = path.join(disk(), "trace");
    const ballast = path.join(disk(), "ballast");
    writeFileSync(ballast, Buffer.alloc(1_200_000));
    const samples = [...syntheticSamples(200 * OPTIONS.sampleLength, OPTIONS)];
    let safe = 0;
    {
      await using writer = await createTrace(directory, description, { partBytes: 0, plannedSamples: 200 });
      const error = await writeSamples(writer, samples).catch((reason: unknown) => reason);
      safe = writer.safeSamples;
      expect(error).toBeInstanceOf(TraceError);
      expect(error).toMatchObject({ kind: "unwritable" });
      expect((error as Error).message).toMatch(
        new RegExp(`no space left.*Free some space\\. Samples 0 to ${safe - 1} are finished and stay readable`),
      );
      await expect(writer.append(samples[safe])).rejects.toThrow(/writing failed: resume/);
    }
    expect(safe).toBeGreaterThan(5);
    expect(safe).toBeLessThan(199);
    deepStrictEqual(await readAll(directory), samples.slice(0, safe));
    expect(readdirSync(path.join(directory, "routing")).length).toBe(safe);

    rmSync(ballast);
    const planned = safe + 10;
    await using writer = await resumeTrace(directory, description, { plannedSamples: planned });
    await writeSamples(writer, samples.slice(safe, planned));
    await writer.finish();
    deepStrictEqual(await readAll(directory), samples.slice(0, planned));
  });
});

describe("resuming refuses", () => {
  const shape = PLAIN_SHAPE;
  async function writeSome(finished: boolean) {
    await using writer = await createTrace(directory, describeShape(shape), { partBytes: 0 });
    await writeSamples(writer, samplesOf(shape).slice(0, 2));
    if (finished) await writer.finish();
  }

  test("where nothing is", async () => {
    await expect(resumeTrace(directory, describeShape(shape))).rejects.toMatchObject({ kind: "not-a-trace" });
  });
  test("a finished trace", async () => {
    await writeSome(true);
    await expect(resumeTrace(directory, describeShape(shape))).rejects.toThrow(/finished/);
  });
  test("another model, naming what differs", async () => {
    await writeSome(false);
    await expect(resumeTrace(directory, describeShape({ ...shape, experts: 17 }))).rejects.toThrow(/"model.experts"/);
    await expect(resumeTrace(directory, describeShape({ ...shape, probs: true }))).rejects.toThrow(/"columns.probs"/);
    await expect(resumeTrace(directory, describeShape({ ...shape, lengths: [3] }))).rejects.toThrow(
      /"recording.sampleLength"/,
    );
  });
  test("a trace that lacks a part", async () => {
    await writeSome(false);
    rmSync(path.join(directory, "tokens", "part-00001.parquet"));
    await expect(resumeTrace(directory, describeShape(shape))).rejects.toMatchObject({ kind: "missing-part" });
  });
});

test("a new trace does not overwrite another", async () => {
  await using first = await createTrace(directory, describeShape(PLAIN_SHAPE));
  await writeSamples(first, samplesOf(PLAIN_SHAPE));
  await first.finish();
  await expect(createTrace(directory, describeShape(PLAIN_SHAPE))).rejects.toMatchObject({ kind: "exists" });
});

test("a directory that cannot be made is named", async () => {
  writeFileSync(directory, "");
  await expect(createTrace(path.join(directory, "in-a-file"), describeShape(PLAIN_SHAPE))).rejects.toMatchObject({
    kind: "unwritable",
    place: { file: path.join(directory, "in-a-file") },
  });
});
