/**
 * Faults under each class of policy: slow and failed reads of what was read ahead, calls given up in mid-pass, a searching
 * thread that dies, and files (what was learned, maps, predictors) that cannot be used. Either it is told, or nothing changes.
 */
import fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Worker } from "node:worker_threads";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { ExpertReadError, GenerationAbortedError } from "../../src/engine/errors.ts";
import { type LearnedFile, writeLearned } from "../../src/engine/learned-file.ts";
import { openSession } from "../../src/engine/open-session.ts";
import type { SessionOptions } from "../../src/engine/options.ts";
import type { Session } from "../../src/engine/session.ts";
import { headerHash } from "../../src/gguf/header-hash.ts";
import { openGguf } from "../../src/gguf/index.ts";
import { type OpenModelOptions, openModel } from "../../src/index.ts";
import { MapSearchError } from "../../src/maps/index.ts";
import { reserveMemory, viewMemory } from "../../src/memory/libc.ts";
import { policyByName, policyNames } from "../../src/policy/index.ts";
import { savePredictor } from "../../src/predict/predictor-file.ts";
import type { RouterPredictor } from "../../src/predict/router-predictor.ts";
import { budgetOf } from "../identity/engine.ts";
import { policyResources } from "../identity/policy-resources.ts";
import { makeTinyModel, tinyModel } from "../tiny-models/index.ts";
import { interpose } from "./interposed-reads.ts";

const folder = fs.mkdtempSync(join(tmpdir(), "faults-policies-"));
afterAll(() => fs.rmSync(folder, { recursive: true }));

const PROMPT = Array.from({ length: 24 }, (_, i) => 3 + ((i * 37) % 290));
const EIO = 5;

/** One of each way to read ahead, and to rank. */
const CLASSES = [
  "layer-stream",
  "mixtral-offload",
  "promoe",
  "moe-infinity",
  "finemoe:mode=inline,prefill=on",
  "finemoe-plus:mode=worker",
  "warmset",
  "slru+next-gate",
];

let path = "";
beforeAll(async () => {
  path = await makeTinyModel(folder, tinyModel("mixtral"));
});

function open(name: string, options: Partial<SessionOptions> = {}): Session {
  const policy = policyByName(name, policyResources(path));
  return openSession(path, {
    ...{ memory: budgetOf(path, "quarter", policy.needs), policy },
    ...{ contextSize: 256, microBatchTokens: 8, threads: 1, io: "direct", ...options },
  });
}

/** Logits of a prompt and ten greedy tokens. */
function answer(session: Session): Float32Array[] {
  const rows = [session.feed(PROMPT, 0).slice()];
  for (let i = 0; i < 10; i++) {
    const row = rows[i];
    rows.push(session.feed([row.indexOf(Math.max(...row))], PROMPT.length + i).slice());
  }
  return rows;
}

const same = (a: readonly Float32Array[], b: readonly Float32Array[]) =>
  expect(a.map((row) => Buffer.from(row.buffer).toString("base64"))).toEqual(
    b.map((row) => Buffer.from(row.buffer).toString("base64")),
  );

let expected: readonly Float32Array[] = [];
beforeAll(() => {
  using session = open("lru", { memory: { kind: "all" } });
  expected = answer(session);
});

describe.each(CLASSES)("under %s", (name) => {
  test("a slow disk that answers out of order changes nothing", () => {
    const openFiles = interpose(({ tag, index }) => (tag < 0 ? "read" : { delayMs: index % 5 === 0 ? 4 : 1 }));
    using session = open(name, { openFiles });
    same(answer(session), expected);
    expect(session.statistics().times.stallMs).toBeGreaterThan(10);
  });

  test("a failed read is told, whoever wanted it, and the next session is as good as new", () => {
    let armed = false;
    const openFiles = interpose(({ tag, index }) => (armed && tag >= 0 && index % 3 === 0 ? { errno: EIO } : "read"));
    {
      using session = open(name, { openFiles });
      session.feed(PROMPT, 0);
      armed = true;
      const goOn = () => {
        for (let i = 0; i < 50; i++) session.feed([PROMPT[i % PROMPT.length]], PROMPT.length + i);
      };
      expect(goOn).toThrow(ExpertReadError);
      expect(goOn).toThrow(/EIO/);
    }
    using session = open(name);
    same(answer(session), expected);
  });

  const abortAddress = reserveMemory(4096);
  const flag = new Uint8Array(viewMemory(abortAddress, 2));
  beforeEach(() => {
    flag[0] = 0;
  });

  test.each([3, 30])("a call that is given up at read %i leaves a policy that goes on", (after) => {
    let reads = -1;
    const openFiles = interpose(({ tag }) => {
      if (tag >= 0 && reads >= 0 && reads++ === after) flag[0] = 1;
      return "read";
    });
    using session = open(name, { abortAddress, openFiles });
    reads = 0;
    expect(() => session.feed(PROMPT, 0)).toThrow(GenerationAbortedError);
    flag[0] = 0;
    expect(session.context.lastPosition(0)).toBe(-1);
    same(answer(session), expected);
  });
});

describe("a thread that searches expert maps", () => {
  test("and dies is told, with what to do; what the session held is given back", async () => {
    const threads: Worker[] = [];
    const started = (worker: Worker) => void threads.push(worker);
    // Node tells of threads when the program next waits: first of those that were started before.
    await new Promise((resolve) => setImmediate(resolve));
    process.on("worker", started);
    const session = open("finemoe:mode=worker");
    try {
      same(answer(session), expected);
      await new Promise((resolve) => setImmediate(resolve));
      expect(threads).toHaveLength(1);
      await Promise.all(threads.map((thread) => thread.terminate()));
      const position = PROMPT.length + 10;
      expect(() => session.feed([5], position)).toThrow(MapSearchError);
      expect(() => session.feed([5], position)).toThrow(/search for expert maps.*ended by itself.*mode=inline/);
      expect(session.context.lastPosition(0)).toBe(position - 1);
    } finally {
      process.off("worker", started);
      session.dispose();
    }
    expect(() => session.context.lastPosition(0)).toThrow();
    using next = open("finemoe:mode=worker");
    same(answer(next), expected);
  });
});

describe("files that a policy begins with", () => {
  const learners = policyNames().filter((name) => policyByName(name.replace("+", "lru+")).learned !== undefined);
  const text = "one two three";
  const openTiny = (options: OpenModelOptions) =>
    openModel(path, { expertMemory: "50%", threads: 1, contextSize: 256, microBatchTokens: 8, ...options });
  const tokensUnder = async (options: OpenModelOptions) => {
    await using model = await openTiny(options);
    const { tokens } = await model.generate(text, { temperature: 0, maxTokens: 6, ignoreEndOfGeneration: true }).result;
    return { tokens, notes: model.info.notes };
  };

  test("there are policies that learn", () => expect(learners.length).toBeGreaterThan(2));

  test.each(learners)("a damaged one of what %s had learned is told of, left unused and replaced", async (policy) => {
    const learned = join(folder, `${policy}.bin`);
    const fresh = await tokensUnder({ policy, learned });
    expect(fresh.notes.join()).not.toContain("is not used");
    const bytes = fs.readFileSync(learned);
    bytes[bytes.length - 5] ^= 0xff;
    fs.writeFileSync(learned, bytes);
    const damaged = await tokensUnder({ policy, learned });
    expect(damaged.notes).toContainEqual(expect.stringMatching(`${learned} is not used: it is damaged.`));
    expect(damaged.tokens).toEqual(fresh.tokens);
    expect((await tokensUnder({ policy, learned })).notes.join()).not.toContain("is not used");
  });

  test.each(learners)("one that is whole, but not what %s wrote, is told of and left unused", async (policy) => {
    const file: LearnedFile = { path: join(folder, `${policy}-other.bin`), model: headerHash(openGguf(path)), policy };
    writeLearned(
      file,
      Uint8Array.from({ length: 999 }, (_, i) => i),
    );
    const { notes, tokens } = await tokensUnder({ policy, learned: file.path });
    expect(notes).toContainEqual(expect.stringContaining(`${file.path} is not used: `));
    expect(tokens).toHaveLength(6);
  });

  test("a damaged file of maps is refused by name", async () => {
    const maps = join(folder, "damaged.maps");
    fs.writeFileSync(maps, "WSETMAPS and no more");
    await expect(openTiny({ policy: "finemoe", maps })).rejects.toMatchObject({ name: "MapStoreFileError" });
  });

  test("a predictor that is missing, damaged or of another model is refused by name, and told what to do", async () => {
    await expect(openTiny({ policy: "promoe" })).rejects.toMatchObject({ name: "PredictorError" });
    await expect(openTiny({ policy: "promoe" })).rejects.toThrow(/train-predictor/);
    const predictor = join(folder, "foreign.predictor");
    await savePredictor(predictor, policyResources(path).predictor as RouterPredictor);
    await expect(openTiny({ policy: "promoe", predictor })).rejects.toMatchObject({ data: { kind: "wrong-model" } });
    fs.truncateSync(predictor, fs.statSync(predictor).size - 10);
    await expect(openTiny({ policy: "promoe", predictor })).rejects.toThrow(/foreign\.predictor.*incomplete/);
  });
});
