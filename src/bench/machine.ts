/** What the bench ran on, for the record beside every figure. */
import { readFileSync } from "node:fs";
import os from "node:os";
import type { Machine } from "./results.ts";

export function describeMachine(): Machine {
  return {
    cpu: cpuModel(),
    cores: os.availableParallelism(),
    memoryBytes: os.totalmem(),
    kernel: `${os.type()} ${os.release()} ${os.arch()}`,
  };
}

/** os.cpus() says "unknown" on some arm64 kernels; then the architecture has to do. */
function cpuModel(): string {
  const model = os.cpus()[0]?.model.trim();
  return model === undefined || model === "" || model === "unknown" ? os.arch() : model;
}

/** Version of this package, from the package.json beside the compiled or source tree. */
export function warmsetVersion(): string {
  const file = new URL("../../package.json", import.meta.url);
  return (JSON.parse(readFileSync(file, "utf8")) as { version: string }).version;
}
