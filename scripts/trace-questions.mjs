/**
 * The questions of docs/traces.md: makes the traces that they are about and asks them, so that no answer is typed by hand.
 * Run as a program it renews the answers; the tests compare.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const program = path.join(root, "dist", "cli", "main.js");
const PLACE = /```console\n(\$ npx warmset trace query traces\/(\w+) "([^"]*)")\n([\s\S]*?)```/g;

export const QUESTIONS_FILE = path.join(root, "docs", "traces.md");

/** Each question in a document: the trace, the SQL, and the answer that is shown. */
export function questionsOf(text) {
  return [...text.matchAll(PLACE)].map(([, , trace, sql, answer]) => ({ trace, sql, answer }));
}

/** Makes the traces of the document in `folder`, as the document says. */
export function makeTraces(folder) {
  const texts = ["javascript", "math", "prose", "python"].map((name) =>
    path.join(root, "models", "text", `${name}.txt`),
  );
  run(["trace", "import", path.join(root, "test/traces/qwen.route.csv.gz"), "--out", path.join(folder, "qwen")]);
  run(["trace", "demo", "--text", ...texts, "--samples", "2", "--out", path.join(folder, "demo"), "--quiet"]);
}

export function answerOf(folder, { trace, sql }) {
  return run(["trace", "query", path.join(folder, trace), sql]);
}

function run(args) {
  const { stdout, stderr, status } = spawnSync(process.execPath, [program, ...args], { encoding: "utf8" });
  if (status !== 0) throw new Error(`warmset ${args.join(" ")} ended with ${status}: ${stderr}`);
  return stdout;
}

function renew() {
  const folder = mkdtempSync(path.join(os.tmpdir(), "warmset-questions-"));
  try {
    makeTraces(folder);
    const text = readFileSync(QUESTIONS_FILE, "utf8");
    const renewed = text.replace(
      PLACE,
      (_, command, trace, sql) => `\`\`\`console\n${command}\n${answerOf(folder, { trace, sql })}\`\`\``,
    );
    writeFileSync(QUESTIONS_FILE, renewed);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) renew();
