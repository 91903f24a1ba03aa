import { execFileSync } from "node:child_process";
import { expect, test } from "vitest";
import { compiledModule } from "../compiled-module.ts";

test("importing warmset/flash loads no native code: only opening a file does", () => {
  const program = `
    const { openFlashCache } = await import(${JSON.stringify(compiledModule(import.meta.url, "./index.js").href)});
    console.log(typeof openFlashCache, process.report.getReport().sharedObjects.some((name) => /koffi|llama|\\.node$/.test(name)));`;
  const said = execFileSync(process.execPath, ["--input-type=module", "-e", program], { encoding: "utf8" });
  expect(said).toBe("function false\n");
});
