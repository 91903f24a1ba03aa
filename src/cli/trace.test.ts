/** `warmset trace import` and `warmset trace query` as users run them, beside `warmset trace MODEL`. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { start, warmset } from "./command-line.test-data.ts";

const CSV = fileURLToPath(new URL("../../test/traces/gptoss.route.csv.gz", import.meta.url));

let folder: string;
let trace: string;
beforeAll(async () => {
  folder = mkdtempSync(path.join(os.tmpdir(), "warmset-trace-cli-"));
  trace = path.join(folder, "gptoss");
  expect(await warmset(["trace", "import", CSV, "--out", trace, "-q"])).toMatchObject({ exitCode: 0, stderr: "" });
});
afterAll(() => rmSync(folder, { recursive: true }));

const query = (sql: string, ...options: string[]) => warmset(["trace", "query", trace, sql, ...options]);

describe("import", () => {
  test("says what it imported", async () => {
    const out = path.join(folder, "again");
    const { exitCode, stdout, stderr } = await warmset(["trace", "import", CSV, "--out", out]);
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
    expect(stdout).toMatch(
      /^.*again\n {2}model +gpt-oss-120b-Q4_K_M \(gpt-oss\)\n {2}layers +36 with 128 experts, 2 used\n/,
    );
    expect(stdout).toMatch(/ {2}tokens +149\n/);
    expect(stdout).toMatch(/note: 84 prompt tokens have no experts in the last layer/);
  });

  test("--json is one document", async () => {
    const out = path.join(folder, "json");
    const { stdout } = await warmset(["trace", "import", CSV, "--out", out, "--json"]);
    expect(JSON.parse(stdout)).toMatchObject({ directory: out, samples: 1, tokens: 149, model: { experts: 128 } });
    expect(JSON.parse(readFileSync(path.join(out, "trace.json"), "utf8")).format).toBe("warmset-trace");
  });

  test.each<[string, string[], number, RegExp]>([
    ["nowhere", [CSV], 2, /--out DIR/],
    ["nothing", ["--out", "x"], 2, /missing required argument/],
    [
      "a file of another kind",
      [import.meta.filename, "--out", path.join(os.tmpdir(), "none")],
      1,
      /line 1: is no route_trace v1/,
    ],
    ["a file that is missing", ["/none.csv", "--out", "x"], 1, /\/none\.csv: cannot be read: ENOENT/],
  ])("of %s is refused", async (_, args, exitCode, message) => {
    const result = await warmset(["trace", "import", ...args]);
    expect(result).toMatchObject({ exitCode, stdout: "" });
    expect(result.stderr).toMatch(message);
    expect(result.stderr).not.toMatch(/\n {4}at |mistake in warmset/);
  });

  test("does not overwrite a trace", async () => {
    const result = await warmset(["trace", "import", CSV, "--out", trace]);
    expect(result).toMatchObject({ exitCode: 1, stderr: expect.stringMatching(/trace\.json: is already there/) });
  });
});

describe("query", () => {
  test("prints a table", async () => {
    const sql =
      "select layer, count(*) as uses, [layer, 1] as list, null as nothing, 1/3 as third, 'a' || chr(10) || 'b' as text from experts group by layer order by layer limit 2";
    expect((await query(sql)).stdout.split("\n")).toEqual([
      "layer  uses  list    nothing   third  text",
      "-----  ----  ------  -------  ------  ----",
      "    0   298  [0, 1]           0.3333  a b",
      "    1   298  [1, 1]           0.3333  a b",
      "",
    ]);
  });

  test("--json is one document, with large numbers whole", async () => {
    const { stdout } = await query(
      "select 1::bigint as one, 9007199254740993::bigint as large, [1.5] as list, null as nothing",
      "--json",
    );
    expect(JSON.parse(stdout)).toEqual({
      columns: [
        { name: "one", type: "BIGINT" },
        { name: "large", type: "BIGINT" },
        { name: "list", type: "DECIMAL(2,1)[]" },
        { name: "nothing", type: "INTEGER" },
      ],
      rows: [{ one: 1, large: "9007199254740993", list: [1.5], nothing: null }],
    });
    expect(JSON.parse((await query("from routing where false", "--json")).stdout).rows).toEqual([]);
    expect(JSON.parse((await query("from routing", "--json")).stdout).rows).toHaveLength(149 * 36);
  });

  test("a long table is cut and says so", async () => {
    const { stdout, stderr } = await query("from routing");
    expect(stdout.trimEnd().split("\n")).toHaveLength(2 + 1000);
    expect(stderr).toMatch(/note: the first 1000 rows/);
    expect((await query("from routing limit 1000")).stderr).toBe("");
  });

  test("its reader may leave early", async () => {
    const { child, finished } = start(["trace", "query", trace, "from experts, range(1000)", "--json"]);
    child.stdout?.once("data", () => child.stdout?.destroy());
    expect(await finished).toMatchObject({ exitCode: 0, stderr: "" });
  });

  test.each<[string, string[], RegExp]>([
    ["a query that is none", ["selec 1"], /syntax error at or near "selec"/],
    ["a column that is not there", ["select tokn from tokens"], /tokn.*not found/],
  ])("%s is explained", async (_, [sql], message) => {
    const result = await query(sql);
    expect(result).toMatchObject({ exitCode: 1, stdout: "" });
    expect(result.stderr).toMatch(message);
    expect(result.stderr).not.toMatch(/\n {4}at |mistake in warmset/);
  });

  test("a directory without a trace is named", async () => {
    const result = await warmset(["trace", "query", folder, "select 1"]);
    expect(result).toMatchObject({ exitCode: 1, stderr: expect.stringMatching(/trace\.json is missing/) });
  });

  test("without DuckDB it says what to install", async () => {
    // As if the optional package were not there: the module loader does not find it.
    const hooks = path.join(folder, "hooks.mjs");
    const register = path.join(folder, "register.mjs");
    writeFileSync(
      hooks,
      `export async function resolve(name, context, next) {
        if (name.startsWith("@duckdb/")) throw Object.assign(new Error("Cannot find package"), { code: "ERR_MODULE_NOT_FOUND" });
        return next(name, context);
      }`,
    );
    writeFileSync(register, `import { register } from "node:module"; register(${JSON.stringify(`file://${hooks}`)});`);
    const result = await warmset(["trace", "query", trace, "select 1"], {
      env: { NODE_OPTIONS: `--import ${register}` },
    });
    expect(result).toMatchObject({ exitCode: 1, stdout: "" });
    expect(result.stderr).toMatch(/SQL needs DuckDB.*npm install @duckdb\/node-api/);
  });
});

test("a word that is no subcommand is a model", async () => {
  const result = await warmset(["trace", "none.gguf", "--text", import.meta.filename, "--out", path.join(folder, "x")]);
  expect(result).toMatchObject({ exitCode: 3, stderr: expect.stringMatching(/none\.gguf: there is no such file/) });
});

test("help names subcommands and views", async () => {
  expect((await warmset(["trace", "--help"])).stdout).toMatch(/import.*<FILE>[\s\S]*query.*<DIR> <SQL>/);
  expect((await warmset(["trace", "query", "--help"])).stdout).toMatch(/experts +a row per chosen expert/);
});
