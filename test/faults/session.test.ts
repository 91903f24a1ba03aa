/** Faults while a model runs in this process: what is thrown, and that the session goes on as if nothing had been asked. */
import fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { smallestBudgetBytes } from "../../src/cache/layer-budget.ts";
import type { Policy } from "../../src/cache/policy.ts";
import {
  BudgetTooSmallError,
  ExpertReadError,
  GenerationAbortedError,
  ModelChangedError,
} from "../../src/engine/errors.ts";
import { openSession } from "../../src/engine/open-session.ts";
import type { SessionOptions } from "../../src/engine/options.ts";
import type { Session } from "../../src/engine/session.ts";
import { openGguf, readMoeLayout, toModelShape } from "../../src/gguf/index.ts";
import { reserveMemory, viewMemory } from "../../src/memory/libc.ts";
import { policyByName } from "../../src/policy/index.ts";
import { lru } from "../../src/policy/lru.ts";
import { budgetOf } from "../identity/engine.ts";
import { makeTinyModel, tinyModel } from "../tiny-models/index.ts";
import { interpose, type ReadRequest, type Treatment } from "./interposed-reads.ts";

const folder = fs.mkdtempSync(join(tmpdir(), "faults-"));
afterAll(() => fs.rmSync(folder, { recursive: true }));

const PROMPT = Array.from({ length: 24 }, (_, i) => 3 + ((i * 37) % 290));
const EIO = 5;

let path = "";
beforeAll(async () => {
  path = await makeTinyModel(folder, tinyModel("mixtral"));
});

const open = (options: Partial<SessionOptions> = {}, file = path): Session =>
  openSession(file, {
    memory: budgetOf(file, "quarter"),
    policy: lru(),
    contextSize: 256,
    microBatchTokens: 8,
    threads: 1,
    io: "direct",
    ...options,
  });

/** Logits of a prompt and five greedy tokens, as a fresh run or one after a fault has to give them. */
function answer(session: Session, position = 0): Float32Array[] {
  const rows = [session.feed(PROMPT, position).slice()];
  for (let i = 0; i < 5; i++) {
    const row = rows[i];
    rows.push(session.feed([row.indexOf(Math.max(...row))], position + PROMPT.length + i).slice());
  }
  return rows;
}

const same = (a: readonly Float32Array[], b: readonly Float32Array[]) =>
  expect(a.map((row) => Buffer.from(row.buffer).toString("base64"))).toEqual(
    b.map((row) => Buffer.from(row.buffer).toString("base64")),
  );

/** Treats expert reads only, and only while armed. */
class Trap {
  armed = false;
  treat: (request: ReadRequest) => Treatment = () => "read";
  readonly openFiles = interpose((request) => (this.armed && request.tag >= 0 ? this.treat(request) : "read"));
}

describe("a failed read", () => {
  test.each(["direct", "pread"] as const)("is told with file, place and reason (%s)", (io) => {
    const trap = new Trap();
    using session = open({ openFiles: trap.openFiles, io });
    session.feed(PROMPT, 0);
    trap.treat = ({ index }) => (index % 3 === 0 ? { errno: EIO } : "read");
    trap.armed = true;
    const fail = () => {
      for (let i = 0; i < 50; i++) session.feed([PROMPT[i % PROMPT.length]], PROMPT.length + i);
    };
    expect(fail).toThrow(ExpertReadError);
    expect(fail).toThrow(expect.objectContaining({ file: fs.realpathSync(path), errno: EIO }));
    expect(fail).toThrow(/EIO/);
  });

  test("leaves the sequence where it was, and the session refuses to go on with bytes that are missing", () => {
    const trap = new Trap();
    using session = open({ openFiles: trap.openFiles });
    session.feed(PROMPT, 0);
    trap.treat = () => ({ errno: EIO });
    trap.armed = true;
    const unlike = PROMPT.map((token) => token + 1);
    expect(() => session.feed(unlike, PROMPT.length)).toThrow(ExpertReadError);
    expect(session.context.lastPosition(0)).toBe(PROMPT.length - 1);
    trap.armed = false;
    expect(() => session.feed(unlike, PROMPT.length)).toThrow(ExpertReadError);
  });

  test("at load is told too", () => {
    const openFiles = interpose(({ index }) => (index === 0 ? { errno: EIO } : "read"));
    expect(() => open({ openFiles })).toThrow(ExpertReadError);
    using session = open();
    expect(answer(session)).toHaveLength(6);
  });
});

describe("a model file that changes", () => {
  const copy = (): string => {
    const file = join(folder, `copy-${Math.random().toString(36).slice(2)}.gguf`);
    fs.copyFileSync(path, file);
    return file;
  };

  test.each(["owned", "page-cache"] as const)("is refused when it was written to (%s)", (backend) => {
    const file = copy();
    using session = open({ backend }, file);
    session.feed(PROMPT, 0);
    fs.utimesSync(file, new Date(), new Date(Date.now() + 5000));
    expect(() => session.feed([5], PROMPT.length)).toThrow(ModelChangedError);
    expect(() => session.feed([5], PROMPT.length)).toThrow(expect.objectContaining({ path: fs.realpathSync(file) }));
    expect(session.context.lastPosition(0)).toBe(PROMPT.length - 1);
  });

  test.each(["owned", "page-cache"] as const)("is refused when it was truncated (%s)", (backend) => {
    const file = copy();
    using session = open({ backend }, file);
    session.feed(PROMPT, 0);
    fs.truncateSync(file, 100_000);
    expect(() => session.feed([5], PROMPT.length)).toThrow(ModelChangedError);
  });

  test.each(["direct", "pread"] as const)("is told when it is truncated in the middle of a batch (%s)", (io) => {
    const file = copy();
    const trap = new Trap();
    using session = open({ openFiles: trap.openFiles, io }, file);
    session.feed(PROMPT, 0);
    trap.treat = () => {
      fs.truncateSync(file, 8192);
      return "read";
    };
    trap.armed = true;
    const unlike = PROMPT.map((token) => token + 1);
    expect(() => session.feed(unlike, PROMPT.length)).toThrow(/truncated|changed/);
    expect(session.context.lastPosition(0)).toBe(PROMPT.length - 1);
  });

  test("does not matter when another file took its name: what is open is still whole", () => {
    const file = copy();
    using fresh = open();
    const expected = answer(fresh);
    using session = open({}, file);
    fs.renameSync(copy(), file);
    same(answer(session), expected);
    fs.unlinkSync(file);
    session.feed([5], PROMPT.length + 5);
  });

  test("does not matter when all of it is in memory", () => {
    const file = copy();
    using session = open({ memory: { kind: "all" } }, file);
    using fresh = open({ memory: { kind: "all" } });
    fs.truncateSync(file, 8192);
    same(answer(session), answer(fresh));
  });
});

describe("a slow disk", () => {
  test.each(["lru", "next-use+next-gate", "on-demand+next-gate"])("changes nothing but the time, with %s", (policy) => {
    using fresh = open({ policy: policyByName(policy) });
    const expected = answer(fresh);
    // A hundred times a good drive's 100 us, with every seventh read overtaken by the ones behind it.
    const openFiles = interpose(({ tag, index }) => (tag < 0 ? "read" : { delayMs: index % 7 === 0 ? 12 : 8 }));
    using session = open({ policy: policyByName(policy), openFiles });
    same(answer(session), expected);
    // The slow reads were waited for: each of the layers that missed something took 8 ms at least.
    expect(session.statistics().times.stallMs).toBeGreaterThan(8 * 10);
  });
});

describe("a budget that is too small", () => {
  test("is refused with the smallest that works, and that works", () => {
    const smallest = smallestBudgetBytes(toModelShape(readMoeLayout(openGguf(path))), 1);
    const attempt = () => open({ memory: { kind: "experts", bytes: smallest - 1 } });
    expect(attempt).toThrow(BudgetTooSmallError);
    expect(attempt).toThrow(expect.objectContaining({ budgetBytes: smallest - 1, smallestBudgetBytes: smallest }));
    using session = open({ memory: { kind: "experts", bytes: smallest } });
    expect(session.microBatchTokens).toBe(1);
    expect(answer(session)).toHaveLength(6);
  });
});

describe("an aborted call", () => {
  const abortAddress = reserveMemory(4096);
  const flag = new Uint8Array(viewMemory(abortAddress, 2));
  beforeEach(() => {
    flag[0] = 0;
  });

  // The first forgets single positions; of the others, each in its own way, only whole sequences can be forgotten.
  describe.each(["mixtral", "granitehybrid", "qwen3next", "deepseek4"])("of %s", (name) => {
    test.each([
      ["in the first layer", 0],
      ["in the middle", 40],
      ["late", 100],
    ])("%s of a prompt is undone", async (_, after) => {
      const file = await makeTinyModel(folder, tinyModel(name));
      using fresh = open({}, file);
      const expected = answer(fresh);
      const trap = new Trap();
      using session = open({ abortAddress, openFiles: trap.openFiles }, file);
      let reads = 0;
      trap.treat = () => {
        if (reads++ === after) flag[0] = 1;
        return "read";
      };
      trap.armed = true;
      expect(() => session.feed(PROMPT, 0)).toThrow(GenerationAbortedError);
      trap.armed = false;
      flag[0] = 0;
      expect(session.context.lastPosition(0)).toBe(-1);
      same(answer(session), expected);
    });

    test("within an answer leaves what was before, or nothing", async () => {
      const file = await makeTinyModel(folder, tinyModel(name));
      using fresh = open({}, file);
      const expected = answer(fresh);
      using session = open({ abortAddress }, file);
      session.feed(PROMPT, 0);
      flag[0] = 1;
      expect(() => session.feed([7], PROMPT.length)).toThrow(GenerationAbortedError);
      flag[0] = 0;
      const last = session.context.lastPosition(0);
      expect([PROMPT.length - 1, -1]).toContain(last);
      if (name === "mixtral") expect(last).toBe(PROMPT.length - 1);
      if (last === -1) session.feed(PROMPT, 0);
      let row = expected[0];
      for (let i = 0; i < 5; i++) {
        row = session.feed([row.indexOf(Math.max(...row))], PROMPT.length + i).slice();
        same([row], [expected[i + 1]]);
      }
    });
  });

  test("is aborted too when all experts are in memory", () => {
    using session = open({ abortAddress, memory: { kind: "all" } });
    flag[0] = 1;
    expect(() => session.feed(PROMPT, 0)).toThrow(GenerationAbortedError);
    flag[0] = 0;
    using fresh = open({ memory: { kind: "all" } });
    same(answer(session), answer(fresh));
  });

  test("at load ends the opening", () => {
    flag[0] = 1;
    expect(() => open({ abortAddress })).toThrow(GenerationAbortedError);
  });
});

describe("a policy that breaks", () => {
  test("fails the call, and the next one is computed as if nothing had been", () => {
    using fresh = open();
    const expected = answer(fresh);
    let calls = 0;
    const base = lru();
    const broken: Policy = {
      name: "broken",
      needs: base.needs,
      begin: (shape, experts) => base.begin(shape, experts),
      iteration: (start) => base.iteration(start),
      routed(event) {
        if (++calls === 5) throw new RangeError("a mistake in the policy");
        base.routed(event);
      },
      prefetch: (link) => base.prefetch(link),
      loading: (key, kind) => base.loading?.(key, kind),
      victim: (candidates, reason, incoming) => base.victim(candidates, reason, incoming),
      end: () => base.end(),
    };
    using session = open({ policy: broken });
    expect(() => session.feed(PROMPT, 0)).toThrow("a mistake in the policy");
    expect(session.context.lastPosition(0)).toBe(-1);
    same(answer(session), expected);
  });
});
