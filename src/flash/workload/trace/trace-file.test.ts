import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as zlib from "node:zlib";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { WorkloadError } from "../../../workload/errors.ts";
import { createEventBatch } from "../event-batch.ts";
import { LineCutter } from "./line-cutter.ts";
import { TraceFile, type TraceFileOptions, type TraceFormat } from "./trace-file.ts";

const folder = mkdtempSync(join(tmpdir(), "flash-trace-"));
afterAll(() => rmSync(folder, { recursive: true }));

let files = 0;
function fileOf(content: string | Uint8Array): string {
  const file = join(folder, `trace-${files++}.csv`);
  writeFileSync(file, content);
  return file;
}

/** Events as [key, operation, key bytes, object bytes], keys numbered as they first came. */
async function eventsOf(file: string, format: TraceFormat, options: TraceFileOptions = {}, batchSize = 4) {
  await using trace = new TraceFile(file, format, options);
  const batch = createEventBatch(batchSize);
  const keys = new Map<string, number>();
  const events: number[][] = [];
  for (let count = await trace.next(batch); count > 0; count = await trace.next(batch))
    for (let i = 0; i < count; i++) {
      const id = `${batch.idHigh[i]} ${batch.idLow[i]}`;
      if (!keys.has(id)) keys.set(id, keys.size);
      events.push([keys.get(id) as number, batch.operation[i], batch.keyBytes[i], batch.objectBytes[i]]);
    }
  return { events, badRows: trace.badRows };
}

const TWITTER = [
  "0,nz:u:eeW511W3dcH3de3d15ec,24,307,5,get,0",
  "0,nz:u:eeW511W3dcH3de3d15ec,24,307,6,gets,0",
  "1,k,with,commas,13,0,5,get,0",
  "1,k,with,commas,13,88,5,set,86400",
  "2,abc,3,10,9,cas,60",
  "3,nz:u:eeW511W3dcH3de3d15ec,24,0,5,delete,0",
];
const TWITTER_EVENTS = [
  ...([[0, 0, 24, 331] as const, [0, 0, 24, 331] as const, [1, 0, 13, 13] as const, [1, 1, 13, 101] as const] as const),
  ...([[2, 1, 8, 18] as const, [0, 2, 24, 24] as const] as const),
];
const META = [
  "key,op,size,op_count,key_size",
  "1668757755,SET,82,1,40",
  "1668757755,GET,82,3,40",
  "1665497896,GET_LEASE,0,2,78",
  "1665497896,DELETE,0,1,78",
];
const META_EVENTS = [
  ...([
    [0, 1, 40, 122] as const,
    [0, 0, 40, 122] as const,
    [0, 0, 40, 122] as const,
    [0, 0, 40, 122] as const,
  ] as const),
  ...([[1, 0, 78, 78] as const, [1, 0, 78, 78] as const, [1, 2, 78, 78] as const] as const),
];

describe("Twitter's traces", () => {
  test("in batches of any size, with or without an end to the last line, from any system", async () => {
    for (const [end, last] of [["\n", "\n"] as const, ["\r\n", "\r\n"] as const, ["\n", ""] as const])
      for (const batchSize of [1, 3, 100]) {
        const file = fileOf(TWITTER.join(end) + last);
        expect((await eventsOf(file, "twitter", {}, batchSize)).events).toEqual(TWITTER_EVENTS);
      }
  });

  test("gives gets that missed a size, when told one", async () => {
    const { events } = await eventsOf(fileOf(TWITTER.join("\n")), "twitter", { missedValueBytes: 100 });
    expect(events[2]).toEqual([1, 0, 13, 113]);
    expect(events[5]).toEqual([0, 2, 24, 24]);
  });

  test.each([
    ["0,key,3,10,1,get", "6 columns and not 7"],
    ["x,key,3,10,1,get,0", "timestamp"],
    ["0,,3,10,1,get,0", "empty key"],
    ["0,key,-3,10,1,get,0", "key size"],
    ["0,key,3,1e9,1,get,0", "value size"],
    ["0,key,3,99999999999999999999,1,get,0", "value size"],
    ["0,key,3,10,1,fetch,0", '"fetch"'],
    ["0,key,3,10,1,get,", "TTL"],
  ])("bad row %s", async (row, text) => {
    const file = fileOf(`${TWITTER.join("\n")}\n${row}\n`);
    const error = await eventsOf(file, "twitter").catch((error) => error);
    expect(error).toBeInstanceOf(WorkloadError);
    expect(error).toMatchObject({ kind: "bad-record", place: { file, line: 7 } });
    expect(error.message).toContain(`${file}, line 7: The row`);
    expect(error.message).toContain(text);
  });

  test("leaves out as many bad rows as it may", async () => {
    const file = fileOf(["broken", ...TWITTER, "0,key,3", ""].join("\n"));
    expect(await eventsOf(file, "twitter", { badRows: 2 })).toEqual({ events: TWITTER_EVENTS, badRows: 2 });
    await expect(eventsOf(file, "twitter", { badRows: 1 })).rejects.toMatchObject({ place: { line: 8 } });
  });
});

describe("Meta's traces", () => {
  test("repeat a row as often as it counts", async () => {
    for (const batchSize of [1, 2, 100])
      expect((await eventsOf(fileOf(META.join("\n")), "meta", {}, batchSize)).events).toEqual(META_EVENTS);
  });

  test("have columns in any order, or only those that must be", async () => {
    const wide = [
      "op_time,key,key_size,op,op_count,size,cache_hits,ttl,usecase",
      "604038471,82131353f9ddc8c6,48,GET,2,87,1,0,366387042",
      "604038473,82131353f9ddc8c6,48,SET_LEASE,1,90,0,7200,366387042,",
    ];
    expect((await eventsOf(fileOf(wide.join("\n")), "meta")).events).toEqual([
      [0, 0, 48, 135],
      [0, 0, 48, 135],
      [0, 1, 48, 138],
    ]);
    const narrow = fileOf("\ufeffkey,op,size\nabcdefghij,SET,5\n");
    expect((await eventsOf(narrow, "meta")).events).toEqual([[0, 1, 10, 15]]);
  });

  test("must name their columns", async () => {
    await expect(eventsOf(fileOf(META.slice(1).join("\n")), "meta")).rejects.toMatchObject({
      kind: "bad-file",
      place: { line: 1 },
      message: expect.stringContaining("key, op and size"),
    });
  });

  test.each([
    ["1,GET,82,1", "4 columns and not 5"],
    ["1,GET,82,1,40,7,8", "7 columns"],
    [",GET,82,1,40", "empty key"],
    ["1,GET,82,1,x", "key_size"],
    ["1,GET,8 2,1,40", "size"],
    ["1,GET,82,0,40", "op_count"],
    ["1,SAT,82,1,40", '"SAT"'],
  ])("bad row %s", async (row, text) => {
    const file = fileOf(`${META.join("\n")}\n${row}\n`);
    const error = await eventsOf(file, "meta").catch((error) => error);
    expect(error).toMatchObject({ kind: "bad-record", place: { file, line: 6 } });
    expect(error.message).toContain(text);
  });
});

describe("a trace file", () => {
  const many = Array.from({ length: 60_000 }, (_, i) => `${i},key-${i % 1000},8,${i % 300},1,get,0`).join("\n");

  test("of more than a chunk, plain and packed, gives the same events", async () => {
    expect(many.length).toBeGreaterThan(2 ** 20);
    const plain = await eventsOf(fileOf(many), "twitter", {}, 4096);
    expect(plain.events).toHaveLength(60_000);
    expect(plain.events[59_999]).toEqual([999, 0, 8, 8 + (59_999 % 300)]);
    expect(await eventsOf(fileOf(zlib.gzipSync(many)), "twitter", {}, 4096)).toEqual(plain);
  });

  const { zstdCompressSync } = zlib as { zstdCompressSync?: (text: string) => Uint8Array };
  test.skipIf(zstdCompressSync === undefined)("packed with zstd", async () => {
    const file = fileOf((zstdCompressSync as (text: string) => Uint8Array)(TWITTER.join("\n")));
    expect((await eventsOf(file, "twitter")).events).toEqual(TWITTER_EVENTS);
  });

  test.skipIf(zstdCompressSync !== undefined)(
    "packed with zstd, where Node has none, is an error that says so",
    async () => {
      const file = fileOf(Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0));
      await expect(eventsOf(file, "twitter")).rejects.toThrow("Node 22.15");
    },
  );

  test("that ends within its packing, is not there, or is no trace", async () => {
    const cut = fileOf(zlib.gzipSync(many).subarray(0, 20_000));
    await expect(eventsOf(cut, "twitter")).rejects.toMatchObject({ kind: "unreadable", place: { file: cut } });
    const missing = join(folder, "missing.csv");
    await expect(eventsOf(missing, "twitter")).rejects.toMatchObject({ kind: "unreadable", place: { file: missing } });
    const binary = fileOf(new Uint8Array(3e6).fill(7));
    await expect(eventsOf(binary, "twitter")).rejects.toMatchObject({ kind: "bad-file", place: { line: 1 } });
  });

  test("of nothing has no events", async () => {
    expect((await eventsOf(fileOf(""), "twitter")).events).toEqual([]);
    expect((await eventsOf(fileOf("key,op,size\n\n"), "meta")).events).toEqual([]);
  });

  test("stops at a signal, before and between chunks", async () => {
    await expect(eventsOf(fileOf(many), "twitter", { signal: AbortSignal.abort("early") })).rejects.toBe("early");
    const abort = new AbortController();
    await using trace = new TraceFile(fileOf(many), "twitter", { signal: abort.signal });
    const batch = createEventBatch(100);
    expect(await trace.next(batch)).toBe(100);
    abort.abort(new Error("enough"));
    const rest = async () => {
      while ((await trace.next(batch)) > 0);
    };
    await expect(rest()).rejects.toThrow("enough");
  });

  test("is closed before it was opened, and twice", async () => {
    const trace = new TraceFile(fileOf(many), "twitter");
    await trace[Symbol.asyncDispose]();
    await trace[Symbol.asyncDispose]();
    expect(await trace.next(createEventBatch(5))).toBe(0);
  });
});

test("lines are the same however the bytes are cut", () => {
  const line = fc.string({ maxLength: 20 }).map((text) => text.replaceAll(/[\r\n]/g, ""));
  fc.assert(
    fc.property(fc.array(line), fc.array(fc.integer({ min: 1, max: 15 }), { minLength: 1 }), (lines, cuts) => {
      const bytes = Buffer.from(lines.map((text) => `${text}\n`).join(""));
      const cutter = new LineCutter("file");
      const seen: string[] = [];
      for (let at = 0, i = 0; at < bytes.length; i++) {
        const size = cuts[i % cuts.length];
        cutter.push(bytes.subarray(at, at + size));
        at += size;
        for (let one = cutter.take(); one !== undefined; one = cutter.take()) seen.push(Buffer.from(one).toString());
      }
      expect(seen).toEqual(lines);
      expect(cutter.takeLast()).toBeUndefined();
      expect(cutter.line).toBe(lines.length);
    }),
  );
});
