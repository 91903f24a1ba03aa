import { execFileSync } from "node:child_process";
import { expect, test } from "vitest";
import { compiledModule } from "../compiled-module.ts";

/** Native libraries that a process has loaded after it imported a module of ours. */
function loadedLibraries(module: string): string[] {
  const url = compiledModule(import.meta.url, module).href;
  const program = `await import(${JSON.stringify(url)}); console.log(JSON.stringify(process.report.getReport().sharedObjects))`;
  return JSON.parse(execFileSync(process.execPath, ["--input-type=module", "-e", program], { encoding: "utf8" }));
}

test("the simulator loads no native code, though it runs the engine's own stream", () => {
  const native = (libraries: string[]) => libraries.filter((library) => /koffi|llama|ggml|\.node$/.test(library));
  expect(native(loadedLibraries("./index.js"))).toEqual([]);
  // The engine does; so this would be seen.
  expect(native(loadedLibraries("../engine/open-session.js"))).toContainEqual(expect.stringContaining("koffi"));
});
