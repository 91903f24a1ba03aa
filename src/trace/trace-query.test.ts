/** SQL sees what was written, through views that need no knowledge of the files. */
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { describeShape, PLAIN_SHAPE, samplesOf, writeSamples } from "./random-traces.test-data.ts";
import { NO_ID } from "./trace.ts";
import { queryTrace } from "./trace-query.ts";
import { createTrace } from "./trace-writer.ts";

const shape = { ...PLAIN_SHAPE, ragged: true };
let directory: string;
beforeAll(async () => {
  // Quotes of every kind belong to paths as to names of models.
  directory = path.join(mkdtempSync(path.join(os.tmpdir(), "warmset-query-")), `it's "a" trace`);
  await using writer = await createTrace(directory, describeShape(shape), { partBytes: 0, plannedSamples: 9 });
  await writeSamples(writer, samplesOf(shape));
});
afterAll(() => rmSync(path.dirname(directory), { recursive: true }));

async function ask(sql: string, from = directory): Promise<unknown[][]> {
  await using result = await queryTrace(from, sql);
  const rows: unknown[][] = [];
  for await (const batch of result.rows) for (const row of batch) rows.push([...row]);
  return rows;
}

const samples = samplesOf(shape);
const tokens = samples.reduce((sum, { length }) => sum + length, 0);
const uses = samples.flatMap(({ experts }) => [...experts].filter((id) => id !== NO_ID));

test("rows of all views", async () => {
  expect(await ask("select count(*)::int from routing")).toEqual([[tokens * shape.layers]]);
  expect(await ask("select count(*)::int from tokens")).toEqual([[tokens]]);
  expect(await ask("select count(*)::int, sum(expert)::int from experts")).toEqual([
    [uses.length, uses.reduce((sum, id) => sum + id, 0)],
  ]);
  expect(await ask("select layer, block, expert_bytes::int from layers order by layer")).toEqual([
    [0, 1, 1000],
    [1, 2, 1001],
    [2, 3, 1002],
  ]);
  expect(
    await ask("select model, architecture, hash, tokenizer_hash, experts::int, experts_used::int from trace"),
  ).toEqual([['a "model" of tests', "test", null, "abc", 16, 2]]);
});

test("an expert's slot and weight are those of its place in the row", async () => {
  const [first] = samples;
  const rows = await ask(
    "select slot, expert, weight from experts where sample = 0 and position = 0 and layer = 0 order by slot",
  );
  const used = [...first.experts.subarray(0, 2)].filter((id) => id !== NO_ID);
  expect(rows).toEqual(used.map((id, slot) => [slot, id, first.weights?.[slot]]));
});

test("columns have names and types, rows come in batches", async () => {
  await using result = await queryTrace(directory, "select range as n, n::varchar as text from range(10000)");
  expect(result.columns).toEqual([
    { name: "n", type: "BIGINT" },
    { name: "text", type: "VARCHAR" },
  ]);
  let batches = 0;
  let rows = 0;
  for await (const batch of result.rows) {
    batches++;
    rows += batch.length;
  }
  expect(rows).toBe(10_000);
  expect(batches).toBeGreaterThan(1);
});

test("it tells what is missing of an interrupted trace", async () => {
  await using result = await queryTrace(directory, "select 1");
  expect(result.unfinished).toBe("Samples 4 to 8 were not finished.");
});

test("an empty trace has empty tables", async () => {
  const empty = path.join(path.dirname(directory), "empty");
  {
    await using writer = await createTrace(empty, describeShape(shape));
    await writer.finish();
  }
  expect(await ask("select (select count(*) from routing)::int, (select count(*) from experts)::int", empty)).toEqual([
    [0, 0],
  ]);
  expect(await ask("select count(distinct layer)::int from layers", empty)).toEqual([[3]]);
});

test("DuckDB's own words explain a wrong query", async () => {
  await expect(ask("select expert from routing")).rejects.toMatchObject({
    kind: "bad-query",
    message: expect.stringMatching(/column "expert" not found/i),
  });
  await expect(ask("select error('half way') from range(3)")).rejects.toMatchObject({ kind: "bad-query" });
});

test("a query that takes long is stopped", async () => {
  const stop = new AbortController();
  const reason = new Error("enough");
  setTimeout(() => stop.abort(reason), 200);
  const endless = async () => {
    await using result = await queryTrace(
      directory,
      "select count(*) from range(1e12::bigint) a, range(1000) b",
      stop.signal,
    );
    for await (const _ of result.rows);
  };
  await expect(endless()).rejects.toBe(reason);
});

test("no trace, no query", async () => {
  await expect(ask("select 1", os.tmpdir())).rejects.toMatchObject({ kind: "not-a-trace" });
});
