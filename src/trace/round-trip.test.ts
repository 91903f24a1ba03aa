/** What is written comes back bit by bit, by us, by DuckDB and by hyparquet. */
import { deepStrictEqual } from "node:assert";
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { DuckDBInstance } from "@duckdb/node-api";
import fc from "fast-check";
import { asyncBufferFromFile, parquetReadObjects } from "hyparquet";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { memoryTrace } from "./memory-trace.ts";
import {
  describeShape,
  everything,
  PLAIN_SHAPE,
  samplesOf,
  type TraceShape,
  traceShapes,
  writeSamples,
} from "./random-traces.test-data.ts";
import { partPath } from "./tables.ts";
import { NO_ID, type TraceSample, type TraceSource, type WantedColumns } from "./trace.ts";
import { openTrace } from "./trace-reader.ts";
import { createTrace, type TraceWriterOptions } from "./trace-writer.ts";

let folder: string;
let directory: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), "warmset-trace-"));
  directory = path.join(folder, "trace");
});
afterEach(() => rmSync(folder, { recursive: true }));

async function write(shape: TraceShape, options: TraceWriterOptions = {}, pieceTokens?: number) {
  rmSync(directory, { recursive: true, force: true });
  await using writer = await createTrace(directory, describeShape(shape), options);
  await writeSamples(writer, samplesOf(shape), pieceTokens);
  await writer.finish();
  return openTrace(directory);
}

async function readAll(trace: TraceSource, wanted: WantedColumns): Promise<TraceSample[]> {
  const samples: TraceSample[] = [];
  for (const { index } of trace.parts) for await (const sample of trace.samples(index, wanted)) samples.push(sample);
  return samples;
}

test("any trace, in any pieces and parts, comes back as it was", async () => {
  await fc.assert(
    fc.asyncProperty(
      traceShapes,
      fc.integer({ min: 1, max: 50 }),
      fc.constantFrom(0, Number.MAX_SAFE_INTEGER),
      async (shape, pieceTokens, partBytes) => {
        const trace = await write(shape, { partBytes }, pieceTokens);
        const samples = samplesOf(shape);
        expect(trace.description).toEqual(describeShape(shape));
        expect(trace.unfinished).toBeUndefined();
        expect(trace.parts.length).toBe(partBytes === 0 ? samples.length : Math.min(samples.length, 1));
        expect(trace.parts.reduce((sum, { tokens }) => sum + tokens, 0)).toBe(
          samples.reduce((sum, { length }) => sum + length, 0),
        );
        // Vitest compares typed arrays number by number, which takes seconds here.
        deepStrictEqual(await readAll(trace, everything(shape)), samples);
      },
    ),
    { numRuns: 60 },
  );
});

test("columns that were not wanted are not there, from the disk as from memory", async () => {
  const shape = { ...PLAIN_SHAPE, probs: true, hiddenWidth: 4 };
  const onDisk = await write(shape);
  const inMemory = memoryTrace(describeShape(shape), samplesOf(shape), { samplesPerPart: 3 });
  expect(inMemory.parts.map(({ samples }) => samples)).toEqual([3, 1]);
  for (const wanted of [{}, { weights: true }, { probs: true, tokens: true }, { hidden: true, predictions: true }])
    expect(await readAll(onDisk, wanted)).toEqual(await readAll(inMemory, wanted));
  const [sample] = await readAll(onDisk, {});
  expect(Object.entries(sample).flatMap(([name, value]) => (value === undefined ? [name] : []))).toEqual([
    "tokens",
    "predicted",
    "loss",
    "weights",
    "probs",
    "hidden",
  ]);
});

test("a column that was not recorded is refused by name", async () => {
  const shape = { ...PLAIN_SHAPE, weights: false };
  for (const trace of [await write(shape), memoryTrace(describeShape(shape), samplesOf(shape))])
    expect(() => trace.samples(0, { weights: true })).toThrow(/recorded without the experts' weights/);
});

describe("samples of many row groups", () => {
  // Router inputs this wide leave room for a few hundred rows in a group.
  const shape = { ...PLAIN_SHAPE, layers: 2, hiddenWidth: 6000, lengths: [100, 300, 1000, 20], seed: 5 };
  const samples = samplesOf(shape);

  test("come back, and no group mixes a large sample with others", async () => {
    await using writer = await createTrace(directory, describeShape(shape));
    await writeSamples(writer, samples, 64);
    await writer.finish();
    deepStrictEqual(
      await readAll(await openTrace(directory), { hidden: true, weights: true }),
      samples.map((sample) => ({ ...sample, tokens: undefined, predicted: undefined, loss: undefined })),
    );
    const groups = await sql(
      `select row_group_id id, any_value(row_group_num_rows) n from parquet_metadata('${partPath(directory, "routing", 0)}')
       group by id order by id`,
    );
    // 349 tokens fit. The second sample does not fit behind the first; the third takes 2 groups and begins a third.
    expect(groups.map(({ n }) => Number(n) / 2)).toEqual([100, 300, 349, 349, 302 + 20]);
  });

  test("are taken back when the recording stops within them", async () => {
    {
      await using writer = await createTrace(directory, describeShape(shape));
      await writeSamples(writer, samples.slice(0, 2));
      writer.beginSample("open");
      await writer.append(samples[2]);
      expect(writer.samples).toBe(2);
      expect(writer.safeSamples).toBe(0);
    }
    const trace = await openTrace(directory);
    expect(trace.unfinished).toMatch(/after sample 1/);
    deepStrictEqual(await readAll(trace, everything(shape)), samples.slice(0, 2));
  });
});

test("one sample that is alone and unfinished leaves an empty trace", async () => {
  {
    await using writer = await createTrace(directory, describeShape(PLAIN_SHAPE), { plannedSamples: 7 });
    writer.beginSample("open");
    await writer.append(samplesOf(PLAIN_SHAPE)[0]);
  }
  const trace = await openTrace(directory);
  expect(trace.parts).toEqual([]);
  expect(trace.unfinished).toBe("Samples 0 to 6 were not finished.");
});

describe("other programs read the parts as they are:", () => {
  const shape = { ...PLAIN_SHAPE, experts: 300, expertsUsed: 5, probs: true, hiddenWidth: 3, ragged: true, seed: 3 };

  test("DuckDB", async () => {
    const trace = await write(shape, { partBytes: 0 });
    expect(trace.parts.length).toBe(4);
    expect(await sql(`select * from '${directory}/routing/*.parquet' order by sample, position, layer`)).toEqual(
      routingRows(samplesOf(shape), shape),
    );
    expect(await sql(`select * from '${directory}/tokens/*.parquet' order by sample, position`)).toEqual(
      tokenRows(samplesOf(shape)),
    );
    const types = await sql(`describe select * from '${directory}/routing/*.parquet'`);
    expect(types.map(({ column_name, column_type }) => `${column_name} ${column_type}`)).toEqual([
      "sample UINTEGER",
      "domain VARCHAR",
      "position UINTEGER",
      "token UINTEGER",
      "phase UTINYINT",
      "layer USMALLINT",
      "experts USMALLINT[]",
      "weights FLOAT[]",
      "probs FLOAT[]",
      "hidden FLOAT[]",
    ]);
  });

  test("row groups tell their ranges, so that queries skip them", async () => {
    await write(PLAIN_SHAPE, { partBytes: 0 });
    const stats = await sql(
      `select stats_min_value low, stats_max_value high from parquet_metadata('${partPath(directory, "routing", 2)}')
       where path_in_schema = 'position'`,
    );
    expect(stats).toEqual([{ low: "0", high: "3" }]);
  });

  test("hyparquet", async () => {
    await write(shape);
    const read = async (table: "routing" | "tokens") =>
      parquetReadObjects({ file: await asyncBufferFromFile(partPath(directory, table, 0)) });
    const plain = (rows: unknown) => JSON.parse(JSON.stringify(rows, (_, value) => value ?? null));
    expect(plain(await read("routing"))).toEqual(plain(routingRows(samplesOf(shape), shape)));
    expect(plain(await read("tokens"))).toEqual(plain(tokenRows(samplesOf(shape))));
  });
});

function routingRows(samples: readonly TraceSample[], { layers, expertsUsed, experts, hiddenWidth }: TraceShape) {
  return samples.flatMap((sample) =>
    Array.from({ length: sample.length * layers }, (_, row) => {
      const position = Math.floor(row / layers);
      const ids = sample.experts.subarray(row * expertsUsed, (row + 1) * expertsUsed);
      const used = ids.indexOf(NO_ID) < 0 ? expertsUsed : ids.indexOf(NO_ID);
      const list = (values: ArrayLike<number> | undefined, width: number, length: number) =>
        Array.from(values ?? []).slice(row * width, row * width + length);
      return {
        sample: sample.sample,
        domain: sample.domain,
        position,
        token: sample.tokens?.[position],
        phase: sample.phases[position],
        layer: row % layers,
        experts: [...ids].slice(0, used),
        weights: list(sample.weights, expertsUsed, used),
        probs: list(sample.probs, experts, used === 0 ? 0 : experts),
        hidden: list(sample.hidden, hiddenWidth, used === 0 ? 0 : hiddenWidth),
      };
    }),
  );
}

function tokenRows(samples: readonly TraceSample[]) {
  return samples.flatMap((sample) =>
    Array.from({ length: sample.length }, (_, position) => {
      const predicted = sample.predicted?.[position] ?? -1;
      const loss = sample.loss?.[position] ?? Number.NaN;
      return {
        sample: sample.sample,
        position,
        token: sample.tokens?.[position],
        phase: sample.phases[position],
        batch: sample.batches[position],
        domain: sample.domain,
        predicted: predicted < 0 ? null : predicted,
        loss: Number.isNaN(loss) ? null : loss,
      };
    }),
  );
}

async function sql(query: string): Promise<Record<string, unknown>[]> {
  const instance = await DuckDBInstance.create(":memory:");
  const connection = await instance.connect();
  try {
    return await (await connection.run(query)).getRowObjectsJS();
  } finally {
    connection.closeSync();
    instance.closeSync();
  }
}
