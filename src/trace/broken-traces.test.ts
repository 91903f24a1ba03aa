/** Every way in which a trace can be broken has an error of its own that names the place. Parts are rewritten by DuckDB. */

import { deepStrictEqual } from "node:assert";
import {
  copyFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import os from "node:os";
import path from "node:path";
import { DuckDBInstance } from "@duckdb/node-api";
import { asyncBufferFromFile, parquetReadObjects } from "hyparquet";
import { parquetWriteFile } from "hyparquet-writer";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { schemaOf } from "./parquet/columns.ts";
import { describeShape, everything, PLAIN_SHAPE, samplesOf, writeSamples } from "./random-traces.test-data.ts";
import { partPath, routingColumns, type TableName, TOKEN_COLUMNS } from "./tables.ts";
import type { TraceSample, WantedColumns } from "./trace.ts";
import type { TraceErrorKind, TracePlace } from "./trace-error.ts";
import { openTrace } from "./trace-reader.ts";
import { createTrace } from "./trace-writer.ts";

const shape = { ...PLAIN_SHAPE, probs: true, hiddenWidth: 3 };
const samples = samplesOf(shape);

let folder: string;
let directory: string;
let part: string;
beforeEach(async () => {
  folder = mkdtempSync(path.join(os.tmpdir(), "warmset-broken-"));
  directory = path.join(folder, "trace");
  part = partPath(directory, "routing", 0);
  await writeTrace(directory);
});
afterEach(() => rmSync(folder, { recursive: true }));

async function writeTrace(target: string, partBytes?: number) {
  await using writer = await createTrace(target, describeShape(shape), partBytes === undefined ? {} : { partBytes });
  await writeSamples(writer, samples);
  await writer.finish();
}

async function readAll(wanted: WantedColumns = everything(shape)): Promise<TraceSample[]> {
  const trace = await openTrace(directory);
  const read: TraceSample[] = [];
  for (const { index } of trace.parts) for await (const sample of trace.samples(index, wanted)) read.push(sample);
  return read;
}

async function fails(kind: TraceErrorKind, place: TracePlace, message: RegExp, wanted?: WantedColumns) {
  const error = await readAll(wanted).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toMatchObject({ name: "TraceError", kind, place });
  expect((error as Error).message).toMatch(message);
}

/** Replaces a table's first part by a query over it (`old`). */
async function rewrite(table: TableName, query: string, options = "") {
  const file = partPath(directory, table, 0);
  const old = path.join(folder, "old.parquet");
  renameSync(file, old);
  const instance = await DuckDBInstance.create(":memory:", { threads: "1" });
  const connection = await instance.connect();
  await connection.run(`create view old as from '${old}'`);
  await connection.run(`copy (${query}) to '${file}' (format parquet${options})`);
  connection.closeSync();
  instance.closeSync();
}

/** SQL that changes a column in one row of the second sample. */
const changed = (column: string, value: string) =>
  `select * replace ((case when sample = 1 and position = 3 and layer = 2 then ${value} else ${column} end) as ${column}) from old`;
const HERE = { sample: 1, position: 3, layer: 2 };

describe("parts that others wrote are read:", () => {
  test("hyparquet-writer, with pages of version 2", async () => {
    for (const [table, columns] of [
      ["routing", routingColumns(describeShape(shape).columns)],
      ["tokens", TOKEN_COLUMNS],
    ] as const) {
      const filename = partPath(directory, table, 0);
      const rows = await parquetReadObjects({ file: await asyncBufferFromFile(filename) });
      const columnData = columns.map(({ name }) => ({ name, data: rows.map((row) => row[name]) }));
      await parquetWriteFile({ filename, columnData, schema: schemaOf(columns), pageSize: 100 });
    }
    deepStrictEqual(await readAll(), samples);
  });

  test.each(["uncompressed", "snappy"])("DuckDB, %s", async (codec) => {
    await rewrite("routing", "from old", `, codec ${codec}, row_group_size 20`);
    await rewrite("tokens", "from old", `, codec ${codec}`);
    deepStrictEqual(await readAll(), samples);
  });

  test("but not every compression", async () => {
    await rewrite("routing", "from old", ", codec zstd");
    await fails("corrupt-part", { file: part }, /ZSTD.*snappy or none/);
  });
});

describe("rows:", () => {
  const query = (table: TableName, sql: string) => rewrite(table, sql);

  test("an expert twice", async () => {
    await query("routing", changed("experts", "[5, 5]::usmallint[]"));
    await fails(
      "duplicate-expert",
      { file: part, ...HERE },
      /part-00000.*sample 1, position 3, layer 2: expert 5 is there twice/,
    );
  });
  test("an expert that the model does not have", async () => {
    await query("routing", changed("experts", "[5, 16]::usmallint[]"));
    await fails("expert-range", HERE, /expert 16 is not one of 16/);
  });
  test("the number that means no expert", async () => {
    await query("routing", changed("experts", "[65535, 4]::usmallint[]"));
    await fails("list-length", HERE, /follows a free place/);
  });
  test("too many experts", async () => {
    await query("routing", changed("experts", "[5, 6, 7]::usmallint[]"));
    await fails("list-length", HERE, /3 elements, not 2 at most/);
  });
  test.each(["weights", "probs", "hidden"])("NaN in %s", async (column) => {
    await query("routing", changed(column, `list_transform(${column}, x -> 'nan'::float)`));
    await fails("not-finite", HERE, new RegExp(`"${column}" has NaN`));
    await readAll({});
  });
  test("an infinite weight", async () => {
    await query("routing", changed("weights", "[0.5::float, 'infinity'::float]"));
    await fails("not-finite", HERE, /Infinity/);
  });
  test("weights for other experts than there are", async () => {
    await query("routing", changed("weights", "[0.5]::float[]"));
    await fails("list-length", HERE, /"weights" has 1 elements, not 2/);
  });
  test("probabilities of too few experts", async () => {
    await query("routing", changed("probs", "probs[2:]"));
    await fails("list-length", HERE, /"probs" has 15 elements, not 16/);
  });
  test("no list at all", async () => {
    await query("routing", changed("weights", "null"));
    await fails("list-length", HERE, /"weights" has 0 elements/);
  });
  test("a list with a null", async () => {
    await query("routing", changed("weights", "[0.5, null]::float[]"));
    await fails("corrupt-part", { file: part }, /null in it/);
  });
  test("a missing layer", async () => {
    await query("routing", "from old where not (sample = 1 and position = 3 and layer = 1)");
    await fails("layer-order", { sample: 1, position: 3, layer: 1 }, /layer is missing; sample 1, position 3, layer 2/);
  });
  test("layers out of order", async () => {
    await query("routing", "from old order by sample, position, layer desc");
    await fails("layer-order", { sample: 0, position: 0, layer: 0 }, /layer 2 comes in its place/);
  });
  test("a missing position", async () => {
    await query("routing", "from old where not (sample = 1 and position = 3)");
    await fails("position-gap", { sample: 1, position: 3 }, /position is missing; sample 1, position 4/);
  });
  test("a missing sample", async () => {
    await query("routing", "from old where sample != 1");
    await fails("sample-order", { sample: 1, position: 0 }, /sample is missing; sample 2/);
  });
  test("an end that is too early", async () => {
    await query("routing", "from old where not (sample = 3 and position = 6 and layer > 0)");
    await fails("wrong-count", { sample: 3, position: 6, layer: 1 }, /2 of this sample are missing/);
  });
  test("rows behind the end", async () => {
    await query("routing", "from old union all (select * replace (9::uinteger as sample) from old where sample = 0)");
    await fails("wrong-count", { sample: 9, position: 0 }, /after the last sample/);
  });

  test("a position twice among the tokens", async () => {
    await query("tokens", "select * replace ((case position when 4 then 3 else position end) as position) from old");
    await fails("position-gap", { sample: 0, position: 3 }, /where position 4 has to be/);
  });
  test("fewer tokens than listed", async () => {
    await query("tokens", "from old where sample != 3");
    await fails("wrong-count", { file: partPath(directory, "tokens", 0) }, /19 tokens; trace.json says 26/);
  });
  test("samples that come in another order", async () => {
    await query("tokens", "from old order by sample desc, position");
    await fails("sample-order", { sample: 3 }, /where sample 0 has to be/);
  });
  test("a phase that is none", async () => {
    await query(
      "tokens",
      "select * replace ((case when sample = 2 and position = 1 then 7 else phase end) as phase) from old",
    );
    await fails("bad-phase", { sample: 2, position: 1 }, /phase 7/);
  });
  test("batches that go back", async () => {
    await query(
      "tokens",
      "select * replace ((case when sample = 2 and position = 1 then 900 else batch end) as batch) from old",
    );
    await fails("batch-order", { sample: 2, position: 2 }, /after a later one/);
  });
  test("an infinite loss", async () => {
    await query(
      "tokens",
      "select * replace ((case when sample = 2 and position = 1 then 'infinity' else loss end) as loss) from old",
    );
    await fails("not-finite", { sample: 2, position: 1 }, /loss/);
  });
  test("two domains in one sample", async () => {
    await query(
      "tokens",
      "select * replace ((case when sample = 2 and position = 1 then 'x' else domain end) as domain) from old",
    );
    await fails("sample-order", { sample: 2 }, /domain/);
  });
  test("a row without a position", async () => {
    await query(
      "tokens",
      "select * replace ((case when sample = 2 and position = 1 then null else position end) as position) from old",
    );
    await fails("corrupt-part", {}, /"position" has a row without a value/);
  });
});

describe("columns:", () => {
  test("one is missing", async () => {
    await rewrite("routing", "select * exclude (layer) from old");
    await fails("wrong-column", { file: part }, /no column "layer"/);
  });
  test("one has another type", async () => {
    await rewrite("routing", "select * replace (position::bigint as position) from old");
    await fails("wrong-column", { file: part }, /"position" as INT64, not as INT32/);
  });
  test("one is a list that should be none", async () => {
    await rewrite("routing", "select * replace ([layer] as layer) from old");
    await fails("wrong-column", { file: part }, /"layer" as lists/);
  });
  test("a list of lists", async () => {
    await rewrite("routing", "select * replace ([experts] as experts) from old");
    await fails("wrong-column", { file: part }, /"experts"/);
  });
  test("a number that its type cannot have", async () => {
    await rewrite("routing", "select * replace ((layer + 70000)::uinteger as layer) from old");
    await fails("corrupt-part", { file: part }, /"layer" has a number that its type cannot have/);
  });
});

describe("files:", () => {
  test("no directory", async () => {
    directory = path.join(folder, "none");
    await fails("not-a-trace", { file: directory }, /trace\.json is missing/);
  });
  test("a missing part", async () => {
    rmSync(part);
    await fails("missing-part", { file: part }, /is missing; the trace has 1 part\. Copy/);
  });
  test("a missing part of tokens", async () => {
    rmSync(partPath(directory, "tokens", 0));
    await fails("missing-part", { file: partPath(directory, "tokens", 0) }, /is missing/);
  });
  test("a part of another trace", async () => {
    const other = path.join(folder, "other");
    await writeTrace(other);
    copyFileSync(partPath(other, "routing", 0), part);
    await fails("foreign-part", { file: part }, /belongs to another trace/);
  });
  test("a part under another number", async () => {
    rmSync(directory, { recursive: true });
    await writeTrace(directory, 0);
    copyFileSync(partPath(directory, "routing", 2), partPath(directory, "routing", 1));
    await fails("foreign-part", { file: partPath(directory, "routing", 1) }, /is part 2 under the name of part 1/);
  });
  test("a part in the other table's place", async () => {
    copyFileSync(partPath(directory, "tokens", 0), part);
    await fails("foreign-part", { file: part }, /table tokens, not routing/);
  });
  test.each([0, 4, 11, 100, 1000])("a part cut off at %i bytes", async (bytes) => {
    truncateSync(part, bytes);
    await fails("truncated-part", { file: part }, /not copied or written to its end/);
  });
  test("something else in a part's place", async () => {
    rmSync(part);
    copyFileSync(`${directory}/trace.json`, part);
    await fails("truncated-part", { file: part }, /does not end as a Parquet file/);
  });
});

describe("trace.json:", () => {
  type Document = Record<string, never> & { [name: string]: Document };
  const edit = (change: (document: Document) => void) => {
    const file = path.join(directory, "trace.json");
    const document = JSON.parse(readFileSync(file, "utf8")) as Document;
    change(document);
    writeFileSync(file, JSON.stringify(document));
  };
  const put = (field: string, value: unknown) =>
    edit((document) => {
      const names = field.split(".");
      const last = names.pop() as string;
      Object.assign(
        names.reduce((object, name) => object[name], document),
        { [last]: value },
      );
    });

  test("is not JSON", async () => {
    truncateSync(path.join(directory, "trace.json"), 50);
    await fails("not-a-trace", { file: path.join(directory, "trace.json") }, /is not JSON/);
  });
  test("is something else", async () => {
    writeFileSync(path.join(directory, "trace.json"), "{}");
    await fails("not-a-trace", {}, /"format"/);
  });
  test("has another schema version", async () => {
    put("schemaVersion", 2);
    await fails("schema-version", {}, /schema version 2; this warmset reads version 1/);
  });
  test.each([
    ["model", 5, /"model" must be an object/],
    ["model.name", null, /"model.name" must be a text/],
    ["model.experts", 0, /"model.experts" must be a whole number from 1/],
    ["model.experts", 1e9, /"model.experts"/],
    ["model.expertsUsed", 17, /"model.expertsUsed" must be a whole number from 1 to 16/],
    ["model.expertBytes", [1], /one number per MoE block/],
    ["model.moeBlocks", [], /at least one/],
    ["model.moeBlocks", [1, 2, 2], /ascend/],
    ["model.moeBlocks", [1, 2, 9], /below "blocks", 5/],
    ["model.moeBlocks", [1, 2, -3], /whole numbers/],
    ["recording.tokensFrom", ["guessed"], /"forced"/],
    ["recording.sampleLength", 1e12, /"recording.sampleLength"/],
    ["columns.hiddenWidth", -1, /"columns.hiddenWidth"/],
    ["columns.weights", "yes", /true or false/],
    ["finished", undefined, /"finished" must be true or false/],
    ["parts", {}, /"parts" must be a list/],
    ["parts", [{ samples: 4 }], /"parts\[0\].tokens"/],
    ["parts", [null], /"parts\[0\]" must be an object/],
    ["id", 7, /"id"/],
  ])("has %s as %j", async (field, value, message) => {
    put(field, value);
    await fails("bad-description", { file: path.join(directory, "trace.json") }, message);
  });
  test("says that samples are shorter than they are", async () => {
    put("recording.sampleLength", 8);
    await fails("wrong-count", { sample: 1 }, /9 tokens; by trace\.json a sample has 8 at most/);
  });
  test("says that there are fewer samples", async () => {
    put("parts.0.samples", 3);
    await fails("wrong-count", { file: partPath(directory, "tokens", 0) }, /4 samples; trace\.json says 3/);
  });
  test("speaks of a model with fewer experts", async () => {
    put("model.experts", 9);
    await fails("expert-range", {}, /is not one of 9/, {});
  });
  test("speaks of a model with other layers", async () => {
    put("model.moeBlocks", [0, 1]);
    put("model.expertBytes", [1, 1]);
    await fails("position-gap", { sample: 0, position: 1 }, /position 0, layer 2 comes in its place/);
  });
  test("wants arrays that no memory holds", async () => {
    put("recording.sampleLength", 1 << 24);
    put("columns.hiddenWidth", 1 << 20);
    put("model.experts", 60_000);
    put("model.expertsUsed", 60_000);
    put(
      "model.moeBlocks",
      Array.from({ length: 60_000 }, (_, i) => i),
    );
    put("model.expertBytes", new Array(60_000).fill(1));
    put("model.blocks", null);
    await fails("wrong-count", { sample: 0 }, /numbers in memory at once/);
  });
});

test("left-overs of a killed run are not read", async () => {
  copyFileSync(part, partPath(directory, "routing", 1));
  writeFileSync(`${partPath(directory, "tokens", 1)}.tmp`, "half");
  deepStrictEqual(await readAll(), samples);
  expect(existsSync(partPath(directory, "routing", 1))).toBe(true);
});
