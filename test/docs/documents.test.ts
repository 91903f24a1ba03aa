/** What the documents claim is checked: examples run, commands print what is shown, links lead somewhere. */
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { documents, runShown, transcriptsOf } from "../../scripts/transcripts.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));
const read = (file: string) => readFileSync(path.join(root, file), "utf8");
const all = [
  ...documents(),
  "CONTRIBUTING.md",
  "CHANGELOG.md",
  "models/README.md",
  "models/MODEL_CARD.md",
  "bench/README.md",
];

const examples = documents().flatMap((file) =>
  [...read(file).matchAll(/```js\n([\s\S]*?)```/g)].map(([, code], i) => ({ name: `${file}, example ${i + 1}`, code })),
);

describe("examples run", () => {
  expect(examples.length).toBeGreaterThan(3);
  test.each(examples)("$name", ({ code }) => {
    // In the repository the package imports itself by name; only the model's place differs.
    const program = code.replaceAll("node_modules/warmset/models/", "models/");
    const output = execFileSync(process.execPath, ["--input-type=module", "-e", program], {
      cwd: root,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "inherit"],
      timeout: 50_000,
    });
    expect(output.trim().length).toBeGreaterThan(10);
    const promised = /console\.log\(.*; \/\/ (.+)$/m.exec(code)?.[1];
    if (promised !== undefined) expect(output).toContain(promised);
  });
});

const shown = documents().flatMap((file) => transcriptsOf(read(file)));

describe("transcripts show what commands print", () => {
  expect(shown.length).toBeGreaterThan(2);
  test.each(shown)("$command", ({ command, shown: text }) => {
    const { output, status } = runShown(command);
    expect(status).toBe(0);
    // Figures and texts differ from machine to machine; the labels at the start of indented lines do not.
    const labels = (lines: string) =>
      [...lines.matchAll(/^ {2}([a-zA-Z][a-zA-Z .]*?)(?: {2,}|$)/gm)].map(([, label]) => label);
    expect(labels(output)).toEqual(labels(text));
    expect(labels(text).length).toBeGreaterThan(3);
  });
});

test.each(all)("links of %s lead somewhere", (file) => {
  const text = read(file).replace(/```[\s\S]*?```/g, "");
  for (const [, target] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
    if (/^https?:/.test(target)) continue;
    const [name, anchor] = target.split("#");
    const linked = name === "" ? file : path.join(path.dirname(file), name);
    expect(existsSync(path.join(root, linked)), `${target} in ${file}`).toBe(true);
    if (anchor === undefined) continue;
    const anchors = [...read(linked).matchAll(/^#+ (.+)$/gm)].map(([, title]) =>
      title
        .toLowerCase()
        .replace(/[^a-z0-9 -]/g, "")
        .replaceAll(" ", "-"),
    );
    expect(anchors, `${target} in ${file}`).toContain(anchor);
  }
});

test("every error that reaches users is in the troubleshooting table", () => {
  const table = read("docs/troubleshooting.md");
  const sources = readdirSync(path.join(root, "src"), { recursive: true, encoding: "utf8" });
  const names = sources
    .filter((file) => file.endsWith(".ts") && !file.includes(".test"))
    .flatMap((file) =>
      [...read(path.join("src", file)).matchAll(/override readonly name = "(\w+)"/g)].map(([, name]) => name),
    );
  // Mistakes of ours, aborts, and errors of npm run bench:memory alone.
  const internal = ["AbortError", "DisposedError", "InterruptedError", "OutputClosedError", "PolicyDecisionError"];
  const ofBench = ["NoRoomToInflateError", "TableMarkersError"];
  const missing = names.filter((name) => ![...internal, ...ofBench].includes(name) && !table.includes(`| ${name} |`));
  expect(missing).toEqual([]);
});

test("the README has a place for the bench's table, and its first lines say what it is", () => {
  const readme = read("README.md");
  expect(readme.match(/^<!-- \/?bench:memory -->$/gm)).toEqual(["<!-- bench:memory -->", "<!-- /bench:memory -->"]);
  expect(readme.indexOf("npm ci && npm start")).toBeLessThan(1000);
});
