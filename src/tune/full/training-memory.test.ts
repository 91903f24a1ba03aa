import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { compiledModule } from "../../compiled-module.ts";
import { DEMO_MODEL } from "../../llama/demo-model.test-data.ts";

const TOKENS = 256;

/** In a process of its own, of which nothing else makes the peak. */
const PROGRAM = (settings: string) => `
  import fs from "node:fs";
  import { trainFull } from ${JSON.stringify(compiledModule(import.meta.url, "./train-full.js").href)};
  const bytes = (field) => 1024 * Number(new RegExp(field + ":\\\\s+(\\\\d+)").exec(fs.readFileSync("/proc/self/status", "utf8"))[1]);
  const documents = Array.from({ length: 4 }, (_, i) => ({
    tokens: Int32Array.from({ length: ${TOKENS} }, (_, t) => (t * 7919 + i * 31) % 4096),
  }));
  let estimated = 0;
  let before = 0;
  await trainFull({
    ...{ documents, steps: 2, stepTokens: 512, batchTokens: 512, threads: 1, terms: {}, task: "kd" },
    ...${settings},
    onEstimate: ({ threads, threadBytes, originalBytes }) => {
      estimated = threads * threadBytes + originalBytes;
      before = bytes("VmRSS");
    },
  });
  process.stdout.write(JSON.stringify({ estimated, grown: bytes("VmHWM") - before }));
`;

// The demo's experts are 26 MB as they are stored, and four times that as float32.
test.runIf(process.platform === "linux")(
  "training stays below its estimate, with a tenth of the experts' bytes for them",
  async () => {
    const settings = JSON.stringify({ model: DEMO_MODEL, weightBytes: 2.5e6 });
    const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", PROGRAM(settings)]);
    const { estimated, grown } = JSON.parse(stdout) as { estimated: number; grown: number };
    expect(grown).toBeLessThan(estimated);
    // An estimate that promises everything would be kept, too.
    expect(grown).toBeGreaterThan(0.5 * estimated);
  },
  30_000,
);
