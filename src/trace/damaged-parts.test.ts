/** Damage of any kind, and footers that lie, end in a TraceError or in a trace that still makes sense: never in a crash. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import fc from "fast-check";
import { type FileMetaData, parquetMetadata } from "hyparquet";
import { ByteWriter } from "hyparquet-writer";
import { writeMetadata } from "hyparquet-writer/src/metadata.js";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { describeShape, everything, PLAIN_SHAPE, samplesOf, writeSamples } from "./random-traces.test-data.ts";
import { partPath, TABLES, type TableName } from "./tables.ts";
import { TraceError } from "./trace-error.ts";
import { openTrace } from "./trace-reader.ts";
import { createTrace } from "./trace-writer.ts";

const shape = { ...PLAIN_SHAPE, probs: true, hiddenWidth: 2, ragged: true };
let directory: string;
const original: Record<string, Buffer> = {};

beforeAll(async () => {
  directory = mkdtempSync(path.join(os.tmpdir(), "warmset-damaged-"));
  {
    await using writer = await createTrace(directory, describeShape(shape));
    await writeSamples(writer, samplesOf(shape));
    await writer.finish();
  }
  for (const table of TABLES) original[table] = readFileSync(partPath(directory, table, 0));
  original.json = readFileSync(path.join(directory, "trace.json"));
});
afterAll(() => rmSync(directory, { recursive: true }));

/** Reads with `bytes` in the place of a file. Returns the error, or undefined when all could be read. */
async function readWith(table: TableName | "json", bytes: Uint8Array): Promise<TraceError | undefined> {
  const file = table === "json" ? path.join(directory, "trace.json") : partPath(directory, table, 0);
  writeFileSync(file, bytes);
  try {
    const trace = await openTrace(directory);
    for (const { index } of trace.parts) {
      const { columns } = trace.description;
      const wanted = Object.fromEntries(
        Object.entries(everything(shape)).map(([name, wants]) => [
          name,
          wants && (name === "hidden" ? columns.hiddenWidth > 0 : columns[name as "weights"]),
        ]),
      );
      for await (const sample of trace.samples(index, wanted)) expect(sample.length).toBeGreaterThan(0);
    }
    return undefined;
  } catch (error) {
    expect(error).toBeInstanceOf(TraceError);
    expect((error as TraceError).place.file ?? directory).toContain(directory);
    return error as TraceError;
  } finally {
    writeFileSync(file, original[table]);
  }
}

describe.each(TABLES)("%s:", (table) => {
  test("flipped bits", async () => {
    let refused = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 7 })), { minLength: 1, maxLength: 4 }),
        async (flips) => {
          const bytes = Buffer.from(original[table]);
          for (const [at, bit] of flips) bytes[at % bytes.length] ^= 1 << bit;
          if ((await readWith(table, bytes)) !== undefined) refused++;
        },
      ),
      { numRuns: 400 },
    );
    expect(refused).toBeGreaterThan(50);
  });

  test("any part of it replaced by anything", async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(), fc.uint8Array({ minLength: 1, maxLength: 40 }), async (start, garbage) => {
        const bytes = Buffer.from(original[table]);
        bytes.set(garbage, start % (bytes.length - garbage.length));
        await readWith(table, bytes);
      }),
      { numRuns: 300 },
    );
  });

  test("cut off anywhere", async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(), async (length) => {
        const error = await readWith(table, original[table].subarray(0, length % original[table].length));
        expect(error?.kind).toBe("truncated-part");
      }),
      { numRuns: 100 },
    );
  });

  test("a footer of anything", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (footer) => {
        const length = Buffer.alloc(4);
        length.writeUInt32LE(footer.length);
        const error = await readWith(table, Buffer.concat([Buffer.from("PAR1"), footer, length, Buffer.from("PAR1")]));
        expect(error?.kind).toBe("corrupt-part");
      }),
      { numRuns: 200 },
    );
  });

  test("counts, offsets and sizes that lie", async () => {
    const before = process.memoryUsage().rss;
    const lies = fc.constantFrom(
      0n,
      1n,
      -1n,
      7n,
      1000n,
      2n ** 20n,
      2n ** 31n - 1n,
      2n ** 31n,
      2n ** 53n,
      2n ** 63n - 1n,
    );
    let refused = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(fc.nat(), lies), { minLength: 1, maxLength: 3 }), async (changes) => {
        if ((await readWith(table, withLies(original[table], changes))) !== undefined) refused++;
      }),
      { numRuns: 400 },
    );
    expect(refused).toBeGreaterThan(300);
    expect(process.memoryUsage().rss - before).toBeLessThan(500e6);
  });
});

test("trace.json with anything changed", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.nat(),
      fc.constantFrom(0, 1),
      fc.string({ unit: "binary-ascii", maxLength: 3 }),
      async (at, cut, text) => {
        const json = original.json.toString("utf8");
        const start = at % json.length;
        await readWith("json", Buffer.from(json.slice(0, start) + text + json.slice(start + cut)));
      },
    ),
    { numRuns: 400 },
  );
});

/** The file with some of its footer's numbers replaced; the rest stays sound. */
function withLies(file: Buffer, changes: readonly (readonly [number, bigint])[]): Uint8Array {
  const metadata = parquetMetadata(file);
  const places: ((value: bigint) => void)[] = [];
  const offer = <K extends string>(object: { [key in K]?: bigint }, ...keys: K[]) => {
    for (const key of keys)
      places.push((value) => {
        object[key] = value;
      });
  };
  offer(metadata as { num_rows: bigint }, "num_rows");
  for (const group of metadata.row_groups) {
    offer(group as { num_rows: bigint }, "num_rows");
    for (const { meta_data } of group.columns)
      offer(
        meta_data as Record<
          "num_values" | "total_compressed_size" | "data_page_offset" | "dictionary_page_offset",
          bigint
        >,
        "num_values",
        "total_compressed_size",
        "data_page_offset",
        "dictionary_page_offset",
      );
  }
  for (const [place, value] of changes) places[place % places.length](value);
  const { metadata_length, ...rest } = metadata;
  const writer = new ByteWriter();
  writer.appendBytes(file.subarray(0, file.length - 8 - metadata_length));
  writeMetadata(writer, rest as FileMetaData);
  writer.appendBytes(Buffer.from("PAR1"));
  return writer.getBytes().slice();
}
