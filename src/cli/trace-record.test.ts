import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { openTrace } from "../trace/trace-reader.ts";
import { warmset } from "./command-line.test-data.ts";
import { DEMO_MODEL } from "./model-options.ts";

const folder = mkdtempSync(join(tmpdir(), "trace-record-"));
afterAll(() => rmSync(folder, { recursive: true }));

const [PROSE, PYTHON] = ["prose", "python"].map((name) => join(DEMO_MODEL, `../text/${name}.txt`));
const SMALL = ["--sample-length", "32", "--samples", "2", "--threads", "1"];
let made = 0;
const newDirectory = () => join(folder, `trace-${made++}`);

async function domainsOf(directory: string): Promise<string[]> {
  const trace = await openTrace(directory);
  const domains: string[] = [];
  for (const { index } of trace.parts) for await (const { domain } of trace.samples(index)) domains.push(domain);
  return domains;
}

describe("warmset trace MODEL", () => {
  test("records several texts behind one --text, says so, and names their domains", async () => {
    const directory = newDirectory();
    const { exitCode, stdout, stderr } = await warmset([
      "trace",
      "demo",
      "--text",
      PROSE,
      PYTHON,
      "--out",
      directory,
      ...SMALL,
    ]);
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
    expect(stdout).toContain(directory);
    expect(stdout).toMatch(/samples +4: prose 2, python 2\n +tokens +128\n +speed +[\d.]+ tokens\/s/);
    expect(stdout).toContain("all experts in memory");
    expect(await domainsOf(directory)).toEqual(["prose", "prose", "python", "python"]);
  });

  test("takes labels in front of files or with --domain, also for a file whose name has an equals sign", async () => {
    const odd = join(folder, "a=b.txt");
    writeFileSync(odd, "Once upon a time there was a fox who lived at the edge of the forest. ".repeat(10));
    const labelled = newDirectory();
    const first = await warmset([
      "trace",
      "demo",
      "--text",
      `code=${PYTHON}`,
      "--text",
      odd,
      "--out",
      labelled,
      ...SMALL,
    ]);
    expect(first).toMatchObject({ exitCode: 0, stderr: "" });
    expect(await domainsOf(labelled)).toEqual(["code", "code", "a=b", "a=b"]);
    const named = newDirectory();
    const second = await warmset([
      "trace",
      "demo",
      "--text",
      PROSE,
      PYTHON,
      "--domain",
      "x",
      "y",
      "--out",
      named,
      ...SMALL,
    ]);
    expect(second).toMatchObject({ exitCode: 0, stderr: "" });
    expect(await domainsOf(named)).toEqual(["x", "x", "y", "y"]);
  });

  test("prints one JSON document, under a budget too", async () => {
    const directory = newDirectory();
    const { exitCode, stdout } = await warmset([
      ...["trace", DEMO_MODEL, "--text", PROSE, "--out", directory, "--probs", "--expert-memory", "50%", "--json"],
      ...SMALL,
    ]);
    expect(exitCode).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      directory,
      samples: 2,
      tokens: 64,
      tokensNow: 64,
      tokensPerSecond: expect.any(Number),
      meanLoss: expect.any(Number),
      domains: [{ domain: "prose", samples: 2 }],
      resident: false,
      config: { model: DEMO_MODEL, sampleLength: 32, samples: 2, probs: true, hidden: false, expertMemory: "50%" },
    });
    expect((await openTrace(directory)).description.columns.probs).toBe(true);
  });

  test("lets the model go on with --decode", async () => {
    const directory = newDirectory();
    const args = ["--decode", "5", "--prompt-tokens", "8", "--temp", "0", "--ignore-eos", "--json"];
    const { stdout } = await warmset(["trace", "demo", "--text", PROSE, "--out", directory, ...args, ...SMALL]);
    expect(JSON.parse(stdout)).toMatchObject({
      samples: 2,
      tokens: 26,
      config: { generate: { tokens: 5, promptTokens: 8 } },
    });
    expect((await openTrace(directory)).description.recording.notes.join(" ")).toContain("the most likely one each");
  });

  test("reads its options from the environment as well", async () => {
    const env = { WARMSET_SAMPLE_LENGTH: "16", WARMSET_TEXT: PROSE, WARMSET_OUT: newDirectory(), WARMSET_JSON: "1" };
    const { stdout } = await warmset(["trace", "demo", "--samples", "1", "--threads", "1"], { env });
    expect(JSON.parse(stdout)).toMatchObject({ samples: 1, tokens: 16, directory: env.WARMSET_OUT });
  });
});

describe("what cannot be recorded is said in one line", () => {
  const empty = join(folder, "empty.txt");
  const short = join(folder, "short.txt");
  writeFileSync(empty, "");
  writeFileSync(short, "Three words only");

  test.each([
    ["no text", ["demo", "--out", "DIR"], 2, "--text FILE"],
    ["no directory", ["demo", "--text", PROSE], 2, "--out DIR"],
    ["no model", ["--text", PROSE, "--out", "DIR"], 2, "No model"],
    ["an empty text", ["demo", "--text", empty, "--out", "DIR"], 2, "empty.txt has no text"],
    ["a short text", ["demo", "--text", short, "--out", "DIR"], 2, "but a sample needs 512"],
    ["a text that is none", ["demo", "--text", DEMO_MODEL, "--out", "DIR"], 2, "is not UTF-8"],
    ["a missing text", ["demo", "--text", join(folder, "nothing"), "--out", "DIR"], 2, "no such file"],
    ["a folder", ["demo", "--text", folder, "--out", "DIR"], 2, "cannot be read"],
    ["a missing model", [join(folder, "no.gguf"), "--text", PROSE, "--out", "DIR"], 3, "no such file"],
    ["no model file", [PROSE, "--text", PROSE, "--out", "DIR"], 3, "does not start with GGUF"],
    [
      "a sample too long",
      ["demo", "--text", PROSE, "--sample-length", "513", "--out", "DIR"],
      2,
      "--sample-length 512",
    ],
    [
      "an answer too long",
      ["demo", "--text", PROSE, "--decode", "500", "--out", "DIR"],
      2,
      "--prompt-tokens and --decode",
    ],
    [
      "labels that do not match",
      ["demo", "--text", PROSE, PYTHON, "--domain", "a", "--out", "DIR"],
      2,
      "2 texts but 1",
    ],
    ["two labels", ["demo", "--text", `a=${PROSE}`, "--domain", "b", "--out", "DIR"], 2, "not both"],
    ["a budget too small", ["demo", "--text", PROSE, "--memory", "10MiB", "--out", "DIR"], 4, "too small"],
    ["a policy unknown", ["demo", "--text", PROSE, "--policy", "magic", "--out", "DIR"], 2, "magic"],
  ])("%s", async (_, args, code, message) => {
    const directory = newDirectory();
    const given = args.map((arg) => (arg === "DIR" ? directory : arg));
    const { exitCode, stdout, stderr } = await warmset(["trace", ...given]);
    expect({ exitCode, stdout }).toEqual({ exitCode: code, stdout: "" });
    expect(stderr).toContain(message);
    expect(stderr.trim().split("\n")).toHaveLength(1);
  });

  test("a trace that is there already", async () => {
    const directory = newDirectory();
    const args = ["trace", "demo", "--text", PROSE, "--out", directory, ...SMALL];
    await warmset(args);
    const { exitCode, stderr } = await warmset(args);
    expect(exitCode).toBe(1);
    expect(stderr).toContain("is already there");
  });
});
