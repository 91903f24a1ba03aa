/**
 * The package as users get it: packed, installed into an empty folder with npm, and run through `npx`. It needs npm's
 * registry (or its cache) for the dependencies, and about 15 seconds.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));
const folder = mkdtempSync(path.join(os.tmpdir(), "warmset-package-"));
const app = path.join(folder, "app");
let packed: string[];

/** npm hands its own settings to what it starts, such as the folder of the project that runs these tests. */
const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(npm_|WARMSET_)/i.test(name)));

function run(command: string, args: readonly string[], cwd = app): string {
  return execFileSync(command, args, { cwd, env, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

beforeAll(() => {
  const [{ filename, files }] = JSON.parse(run("npm", ["pack", "--json", "--pack-destination", folder], root)) as [
    { filename: string; files: { path: string }[] },
  ];
  packed = files.map((file) => file.path);
  mkdirSync(app);
  writeFileSync(path.join(app, "package.json"), '{ "private": true, "type": "module" }\n');
  run("npm", ["install", "--prefer-offline", "--no-audit", "--no-fund", path.join(folder, filename)]);
}, 120_000);
afterAll(() => rmSync(folder, { recursive: true }));

test("the package holds the program, the model with its card, the texts and the papers, and nothing else", () => {
  for (const file of [
    ...["dist/cli/main.js", "dist/index.js", "dist/index.d.ts", "dist/engine/host.js", "dist/memory/pread-worker.js"],
    ...["models/demo-moe-q8_0.gguf", "models/MODEL_CARD.md", "models/README.md", "models/text/prose.txt"],
    ...["README.md", "LICENSE", "CHANGELOG.md", "package.json", "docs/troubleshooting.md"],
  ])
    expect(packed).toContain(file);
  const strangers = packed.filter(
    (file) => !/^(dist|models|docs)\/|^(bench\/)?README\.md$|^CHANGELOG\.md$|^LICENSE$|^package\.json$/.test(file),
  );
  expect(strangers).toEqual([]);
  expect(packed.filter((file) => /\.test\.|test-data|\.map$/.test(file))).toEqual([]);
  // Each compiled file still has its source: nothing stale is shipped.
  const orphans = packed.filter(
    (file) =>
      file.startsWith("dist/") && !existsSync(path.join(root, "src", file.slice(5).replace(/(\.d\.ts|\.js)$/, ".ts"))),
  );
  expect(orphans).toEqual([]);
});

test("npx warmset works", () => {
  expect(run("npx", ["warmset"])).toContain("Usage: warmset");
  expect(run("npx", ["warmset", "run", "--help"])).toContain("--expert-memory");
  expect(run("npx", ["warmset", "inspect", "node_modules/warmset/models/demo-moe-q8_0.gguf"])).toContain("qwen3moe");
  const args = ["run", "demo", "--expert-memory", "50%", "--raw", "-p", "Once upon a", "--temp", "0", "-n", "3", "-q"];
  expect(run("npx", ["warmset", ...args])).toBe(" time there was\n");
});

test("the library and its subpaths can be imported", () => {
  const program = `
    import { openModel } from "warmset";
    import { policyNames } from "warmset/policy";
    import { openGguf } from "warmset/gguf";
    const path = "node_modules/warmset/models/demo-moe-q8_0.gguf";
    const model = await openModel(path, { expertMemory: "50%", threads: 1 });
    for await (const piece of model.generate("Once upon a", { maxTokens: 3, temperature: 0 })) process.stdout.write(piece);
    await model.close();
    console.log("|" + policyNames().includes("lru") + "|" + openGguf(path).tensors.length);`;
  expect(run("node", ["--input-type=module", "-e", program])).toMatch(/^ time there was\|true\|\d+\n$/);
});

test("its types hold in a strict TypeScript project", () => {
  const program = `
    import { type MoeModel, openModel } from "warmset";
    import { type Policy, policyByName } from "warmset/policy";
    import { openGguf } from "warmset/gguf";
    const model: MoeModel = await openModel("model.gguf", { memory: "6GiB", policy: "lru" });
    const { experts, text } = await model.chat([{ role: "user", content: "Hi" }], { onAbort: "resolve" }).result;
    const policy: Policy = policyByName("lru");
    export const figures: readonly number[] = [experts.hitRate, openGguf("model.gguf").fileBytes];
    export const words: readonly string[] = [text, policy.name];
    // @ts-expect-error a misspelt option
    await openModel("model.gguf", { memroy: "6GiB" });`;
  writeFileSync(path.join(app, "consumer.ts"), program);
  const compiler = path.join(root, "node_modules/typescript/bin/tsc");
  const types = ["--types", "node", "--typeRoots", path.join(root, "node_modules/@types")];
  const target = ["--module", "nodenext", "--target", "es2022", "--lib", "es2023,esnext.disposable"];
  expect(run("node", [compiler, "--noEmit", "--strict", ...target, ...types, "consumer.ts"])).toBe("");
});

test("only llama.cpp libraries for Linux are installed", () => {
  const installed = readdirSync(path.join(app, "node_modules/@node-llama-cpp"));
  expect(installed).toContain(`linux-${process.arch}`);
  // linux-arm64 says of itself that it also suits x64, so npm installs it there too (20 MB).
  expect(installed.filter((name) => !name.startsWith("linux-"))).toEqual([]);
  expect(statSync(path.join(app, "node_modules/.bin/warmset")).mode & 0o111).not.toBe(0);
});
