/**
 * Compiles src/ to dist/ with the project's own TypeScript and removes compiled files whose source is gone, so that a
 * package never carries them. `npm run build` runs it; `npm start` and the tests call `buildIfStale`.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, rmSync, statSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const source = path.join(root, "src");
const output = path.join(root, "dist");
const compiler = path.join(root, "node_modules/typescript/bin/tsc");

/** Exit code of the compiler. It writes what it can even when types do not fit. */
export function build() {
  if (!existsSync(compiler)) {
    process.stderr.write("TypeScript is not installed here. Run this first: npm ci\n");
    return 1;
  }
  const options = { cwd: root, stdio: ["ignore", "inherit", "inherit"] };
  const { status } = spawnSync(process.execPath, [compiler, "-p", "tsconfig.build.json"], options);
  removeOrphans();
  return status ?? 1;
}

/** Builds when a source is newer than everything compiled; 0 when there was nothing to do. */
export function buildIfStale() {
  const compiled = newest(output);
  const sources = Math.max(newest(source), statSync(path.join(root, "tsconfig.build.json")).mtimeMs);
  if (compiled <= sources) return build();
  removeOrphans();
  return 0;
}

/** Latest time of change of a file below `folder`, 0 when there is none. */
function newest(folder) {
  return Math.max(0, ...filesBelow(folder).map((file) => statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0));
}

function removeOrphans() {
  for (const file of filesBelow(output)) {
    const stem = path.relative(output, file).replace(/(\.d\.ts|\.js\.map|\.js)$/, "");
    // Data files (published.json) are copied as they are.
    if (!existsSync(path.join(source, `${stem}.ts`)) && !existsSync(path.join(source, stem))) rmSync(file);
  }
}

function filesBelow(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath, entry.name));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exitCode = build();
