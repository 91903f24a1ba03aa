import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import * as fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import type { Policy } from "../cache/policy.ts";
import { headerHash } from "../gguf/header-hash.ts";
import { openGguf } from "../gguf/index.ts";
import { DEMO_MODEL } from "../llama/demo-model.test-data.ts";
import { lru, policyByName } from "../policy/index.ts";
import { type LearnedFile, learnedPath, openPolicy, readLearned, writeLearned } from "./learned-file.ts";
import { openSession } from "./open-session.ts";

const folder = mkdtempSync(path.join(os.tmpdir(), "warmset-learned-"));
afterAll(() => rmSync(folder, { recursive: true }));
const fileOf = (name: string): LearnedFile => ({
  path: path.join(folder, name),
  model: "ab".repeat(32),
  policy: "ours",
});

/** An LRU that counts its layers and goes on counting where it left off. It cannot begin with what is a multiple of 3. */
function counting(learned: Uint8Array = new Uint8Array(8)): Policy {
  if (learned.length !== 8) throw new RangeError("eight bytes");
  const count = new Float64Array(Uint8Array.from(learned).buffer);
  const base = lru();
  return {
    name: "counting",
    needs: base.needs,
    begin(shape, experts) {
      if (count[0] > 0 && count[0] % 3 === 0) throw new RangeError(`${count[0]} is of no use`);
      base.begin(shape, experts);
    },
    iteration: (start) => base.iteration(start),
    routed(event) {
      count[0]++;
      base.routed(event);
    },
    prefetch: (link) => base.prefetch(link),
    loading: (key, kind) => base.loading?.(key, kind),
    victim: (candidates, reason, incoming) => base.victim(candidates, reason, incoming),
    learned: () => new Uint8Array(count.slice().buffer),
    end: () => base.end(),
  };
}

describe("a file of what was learned", () => {
  test("comes back as it was put, and leaves nothing beside it", () => {
    const file = fileOf("sub/kept.bin");
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 5000 }), (bytes) => {
        writeLearned(file, bytes);
        expect(readLearned(file)).toEqual({ bytes });
      }),
    );
    expect(readdirSync(path.dirname(file.path))).toEqual(["kept.bin"]);
  });

  test("is not there the first time", () => expect(readLearned(fileOf("none.bin"))).toEqual({}));

  test("with any byte changed, cut off or added is told of and never believed", () => {
    const file = fileOf("damaged.bin");
    const bytes = Uint8Array.from({ length: 60 }, (_, i) => i);
    writeLearned(file, bytes);
    const whole = readFileSync(file.path);
    const refused = (changed: Uint8Array) => {
      writeFileSync(file.path, changed);
      expect(readLearned(file)).toEqual({ problem: expect.any(String) });
    };
    for (let at = 0; at < whole.length; at++) {
      const changed = Uint8Array.from(whole);
      changed[at] ^= 1;
      refused(changed);
      refused(whole.subarray(0, at));
    }
    refused(Buffer.concat([whole, Buffer.from("x")]));
  });

  test("of another model or policy is told of", () => {
    const file = fileOf("foreign.bin");
    writeLearned(file, Uint8Array.of(1));
    expect(readLearned({ ...file, model: "cd".repeat(32) })).toEqual({
      problem: "it is of another model or other routers",
    });
    expect(readLearned({ ...file, policy: "theirs" })).toEqual({ problem: "it is of another policy (ours)" });
  });

  test("has a name of its own for each model and policy, in the folder that is set", () => {
    const paths = ["ours:a=1", "ours:a=2", "ours:a/2"].map((name) =>
      learnedPath("ab".repeat(32), name, { WARMSET_HOME: "/w" }),
    );
    expect(new Set(paths).size).toBe(3);
    for (const each of paths) expect(each).toMatch(/^\/w\/learned\/abababababababab-ours[^/]*\.bin$/);
    expect(learnedPath("ab", "x", { XDG_CACHE_HOME: "/c" })).toMatch(/^\/c\/warmset\/learned\//);
    expect(learnedPath("ab", "x", {})).toMatch(/\.cache\/warmset\/learned\//);
  });
});

describe("a policy", () => {
  const make = (_: string, { learned }: { learned?: Uint8Array } = {}) => counting(learned);
  const environment = { WARMSET_HOME: path.join(folder, "home") };
  const modelHash = headerHash(openGguf(DEMO_MODEL));
  const options = { modelHash, environment, make };
  const run = (learned: string) => {
    const opened = openPolicy("counting", { ...options, learned });
    const memory = { kind: "experts", bytes: 14e6 } as const;
    using session = openSession(DEMO_MODEL, {
      ...{ memory, policy: opened.policy, contextSize: 64, threads: 1 },
      ...(opened.learned === undefined ? {} : { learned: opened.learned }),
    });
    session.feed([5, 6, 7], 0);
    return { ...opened, notes: [...opened.notes, ...session.notes] };
  };
  const countIn = (file: LearnedFile | undefined) => {
    const { bytes } = readLearned(file!);
    return new Float64Array(bytes!.buffer)[0];
  };

  test("goes on with what it had learned when the model was closed", () => {
    const first = run("auto");
    expect(first.learned?.model).toBe(modelHash);
    expect(countIn(first.learned)).toBe(8);
    expect(countIn(run("auto").learned)).toBe(16);
    expect(countIn(run("auto").learned)).toBe(24);
    const again = run("auto");
    expect(again.notes).toContainEqual(expect.stringMatching(/is not used: 24 is of no use/));
    expect(countIn(again.learned)).toBe(8);
  });

  test("keeps nothing when told so, or when it learns nothing", () => {
    expect(run("off").learned).toBeUndefined();
    const routersHash = () => expect.unreachable();
    const plain = openPolicy("lru", { modelHash, routersHash, learned: "auto", environment, make: policyByName });
    expect(plain).toMatchObject({ learned: undefined, notes: [] });
  });

  test("does not begin with what it learned of other routers", () => {
    const pathWith = (routers?: string) =>
      openPolicy("counting", { ...options, learned: "auto", routersHash: () => routers }).learned!.path;
    const paths = [pathWith(), pathWith("ab"), pathWith("cd")];
    expect(new Set(paths).size).toBe(3);
    expect(pathWith("ab")).toBe(paths[1]);
  });

  test("starts anew, and says so, with a file that it cannot use", () => {
    const file = path.join(folder, "own.bin");
    writeFileSync(file, "something else");
    const opened = openPolicy("counting", { ...options, learned: file });
    expect(opened.notes).toEqual([expect.stringMatching(/own\.bin is not used: it is no such file/)]);
    writeLearned(opened.learned!, Uint8Array.of(1, 2, 3));
    const unread = openPolicy("counting", { ...options, learned: file });
    expect(unread.notes).toEqual([expect.stringMatching(/is not used: eight bytes/)]);
    expect(countIn(run(file).learned)).toBe(8);
  });

  test("that cannot be kept does not keep the model open", () => {
    const notFolder = path.join(folder, "notes.txt");
    writeFileSync(notFolder, "");
    const file = path.join(notFolder, "learned.bin");
    expect(run(file).notes).toEqual([expect.stringMatching(/is not used: ENOTDIR/)]);
    expect(existsSync(file)).toBe(false);
  });
});
