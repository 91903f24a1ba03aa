/**
 * Runs the commands that the documents show and puts what they really print into their places, so that no output is
 * typed by hand. A place is a line `<!-- transcript: COMMAND -->`, a console block, and `<!-- /transcript -->`.
 */
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const PLACE = /<!-- transcript: (.+?) -->\n```console\n([\s\S]*?)```\n<!-- \/transcript -->/g;

/** Documents that may show transcripts. */
export function documents() {
  const docs = readdirSync(path.join(root, "docs")).filter((name) => name.endsWith(".md"));
  return ["README.md", ...docs.map((name) => path.join("docs", name))];
}

/** Command and shown output of each transcript in `text`. */
export function transcriptsOf(text) {
  return [...text.matchAll(PLACE)].map(([, command, shown]) => ({ command, shown }));
}

/** Standard output and error of a command as a reader would see them, without npm's remarks on its own settings. */
export function runShown(command) {
  const ours = command.replace(/^npx warmset\b/, `node ${path.join("dist", "cli", "main.js")}`);
  const { stdout, status } = spawnSync("sh", ["-c", `exec 2>&1; ${ours}`], { cwd: root, encoding: "utf8" });
  const lines = stdout.split("\n").filter((line) => !line.startsWith("npm warn"));
  return { output: lines.join("\n").replaceAll(root, "").trim(), status };
}

function renew(file) {
  const text = readFileSync(path.join(root, file), "utf8");
  const renewed = text.replace(PLACE, (_, command) => {
    const { output, status } = runShown(command);
    if (status !== 0) throw new Error(`${command} ended with ${status}: ${output}`);
    return `<!-- transcript: ${command} -->\n\`\`\`console\n$ ${command}\n${output}\n\`\`\`\n<!-- /transcript -->`;
  });
  if (renewed !== text) writeFileSync(path.join(root, file), renewed);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) for (const file of documents()) renew(file);
