/** The thread of the store, with real files: what it keeps, and what becomes of a model whose file is of no use. */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { compiledModule } from "../../compiled-module.ts";
import { SegmentCodec } from "./segment-hint.ts";
import { ThreadLink } from "./thread-link.ts";

const folder = mkdtempSync(join(tmpdir(), "hints-"));
afterAll(() => rmSync(folder, { recursive: true }));

const shape = { layers: 4, experts: 8 };
const codec = new SegmentCodec(shape, 4);
const key = (n: number) => Uint8Array.from({ length: 16 }, (_, i) => n >>> (8 * (i % 4)));
const hint = (n: number) => codec.encode(new Uint8Array(32).fill(1 + (n % 8)));

function answers(link: ThreadLink, keys: readonly Uint8Array[]): readonly (Uint8Array | undefined)[] {
  const question = link.ask(keys);
  let found: readonly (Uint8Array | undefined)[] = [];
  link.take(10_000, (of, hints) => {
    expect(of).toBe(question);
    found = hints;
  });
  return found;
}

function withLink<T>(path: string, use: (link: ThreadLink) => T): T {
  const link = new ThreadLink({ path, shape });
  link.waitUntilOpen();
  try {
    return use(link);
  } finally {
    link.close();
  }
}

describe("a store in its thread", () => {
  test("keeps what it was told across restarts, for the same keys alone", () => {
    const path = join(folder, "kept");
    withLink(path, (link) => {
      expect(link.problem).toBeUndefined();
      expect(answers(link, [key(1), key(2)])).toEqual([undefined, undefined]);
      for (let n = 0; n < 300; n++) link.record(key(n), hint(n));
    });
    withLink(path, (link) => {
      const found = answers(link, [...Array.from({ length: 300 }, (_, n) => key(n)), key(777)]);
      expect(found).toEqual([...Array.from({ length: 300 }, (_, n) => hint(n)), undefined]);
      expect(link.figures()).toMatchObject({ hintQuestions: 1, hintAnswers: 1 });
    });
  });

  test("merges observations of a key in their order", () => {
    const path = join(folder, "merged");
    withLink(path, (link) => {
      link.record(key(1), codec.encode(new Uint8Array(32).fill(8)));
      link.record(key(1), codec.encode(new Uint8Array(32).fill(2)));
    });
    const [found] = withLink(path, (link) => answers(link, [key(1)]));
    const uses = new Uint8Array(32);
    expect(codec.decode(found as Uint8Array, uses)).toBe(true);
    expect(new Set(uses)).toEqual(new Set([5]));
  });

  test("is waited for no longer than told", () => {
    withLink(join(folder, "late"), (link) => {
      link.ask(Array.from({ length: 50 }, (_, n) => key(n)));
      let visits = 0;
      link.take(0, () => visits++);
      expect(visits).toBeLessThanOrEqual(1);
      expect(link.figures().hintLongestWaitMs).toBe(0);
    });
  });
});

describe("a file that is of no use", () => {
  test.each([
    ["another file", () => "broken", "is no cache"],
    ["in no directory", () => "nowhere/hints", "There is no directory"],
    ["a directory", () => "", "is a directory"],
  ])("%s is told of, and nothing is answered", (_, name, why) => {
    writeFileSync(join(folder, "broken"), "a letter to grandmother, and 4,096 more bytes".repeat(100));
    withLink(join(folder, name()), (link) => {
      expect(link.problem).toContain(why);
      expect(link.problem).toContain("runs on without");
      link.record(key(1), hint(1));
      link.ask([key(1)]);
      link.take(5, () => expect.unreachable());
    });
  });

  test("in use by another is told of", () => {
    const path = join(folder, "locked");
    withLink(path, (first) => {
      first.record(key(1), hint(1));
      withLink(path, (second) => expect(second.problem).toContain("is open already"));
      expect(first.problem).toBeUndefined();
      expect(answers(first, [key(1)])).toEqual([hint(1)]);
    });
  });
});

test("a process that is killed while it writes leaves a store that opens, with no wrong hint", async () => {
  const path = join(folder, "killed");
  const program = `
    import { ThreadLink } from ${JSON.stringify(compiledModule(import.meta.url, "./thread-link.js"))};
    import { SegmentCodec } from ${JSON.stringify(compiledModule(import.meta.url, "./segment-hint.js"))};
    const codec = new SegmentCodec(${JSON.stringify(shape)}, 4);
    const link = new ThreadLink({ path: ${JSON.stringify(path)}, shape: ${JSON.stringify(shape)} });
    link.waitUntilOpen();
    const key = (n) => Uint8Array.from({ length: 16 }, (_, i) => n >>> (8 * (i % 4)));
    for (let n = 0; n < 4000; n++) link.record(key(n), codec.encode(new Uint8Array(32).fill(1 + (n % 8))));
    process.stdout.write("writing");
    setInterval(() => {}, 1000);`;
  for (const delayMs of [0, 40, 150]) {
    const child = spawn(process.execPath, ["--input-type=module", "-e", program], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    await new Promise<void>((resolve) => child.stdout.once("data", () => resolve()));
    await new Promise((resolve) => setTimeout(resolve, delayMs));
    const gone = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await gone;
    withLink(path, (link) => {
      expect(link.problem).toBeUndefined();
      const found = answers(
        link,
        Array.from({ length: 4000 }, (_, n) => key(n)),
      );
      for (const [n, bytes] of found.entries())
        if (bytes !== undefined) expect(bytes.subarray(2)).toEqual(hint(n).subarray(2));
    });
  }
}, 60_000);
