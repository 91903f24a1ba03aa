/** Compiles the sources for tests that start processes: contenders run from dist/, as they do for users. */
import { spawnSync } from "node:child_process";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";

/** Type errors are the type check's business: the compiler emits all the same. */
export function compileSources(): void {
  const root = fileURLToPath(new URL("../..", import.meta.url));
  const compiler = createRequire(import.meta.url).resolve("typescript/package.json");
  const program = path.join(path.dirname(compiler), "bin/tsc");
  spawnSync(process.execPath, [program, "-p", path.join(root, "tsconfig.build.json")]);
}
