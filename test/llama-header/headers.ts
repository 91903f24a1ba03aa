/**
 * Gets the headers that the shipped libraries were built from. They are in no platform package, but the npm package
 * `node-llama-cpp` of the same version carries llama.cpp's source as a git bundle; it is fetched once and kept below
 * node_modules/.cache.
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { PACKAGE_VERSION } from "../../src/llama/index.ts";

/** The npm registry's integrity of node-llama-cpp 3.22.1. Change it together with PACKAGE_VERSION. */
const INTEGRITY = "sha512-bltIipuWmc123H7tMIgDGKSsSrhmhlQYeVUC48XTjVW7XGJJiJJyCdlTMzQ/LiWoPkGDpcL4FviDpgw7qfTiDw==";

const FILES = {
  llama: "include/llama.h",
  ggml: "ggml/include/ggml.h",
  backend: "ggml/include/ggml-backend.h",
} as const;

const CACHE = join(import.meta.dirname, "../../node_modules/.cache/warmset-headers");

export type Headers =
  | { readonly available: true; readonly text: Readonly<Record<keyof typeof FILES, string>> }
  | { readonly available: false; readonly reason: string };

/** Reads the kept headers, or fetches them (35 MB) and keeps them. */
export function obtainHeaders(): Headers {
  const directory = join(CACHE, PACKAGE_VERSION);
  try {
    if (!existsSync(directory)) fetchInto(directory);
    const read = (name: keyof typeof FILES) => readFileSync(join(directory, `${name}.h`), "utf8");
    return { available: true, text: { llama: read("llama"), ggml: read("ggml"), backend: read("backend") } };
  } catch (error) {
    return { available: false, reason: String(error) };
  }
}

function fetchInto(directory: string): void {
  mkdirSync(CACHE, { recursive: true });
  const work = mkdtempSync(join(CACHE, "fetch-"));
  const run = (command: string, ...parameters: string[]) =>
    execFileSync(command, parameters, {
      cwd: work,
      encoding: "utf8",
      maxBuffer: 1 << 26,
      stdio: ["ignore", "pipe", "pipe"],
    });
  try {
    run("npm", "pack", `node-llama-cpp@${PACKAGE_VERSION}`, "--ignore-scripts", "--fetch-retries=0");
    const archive = `node-llama-cpp-${PACKAGE_VERSION}.tgz`;
    const found = `sha512-${createHash("sha512")
      .update(readFileSync(join(work, archive)))
      .digest("base64")}`;
    if (found !== INTEGRITY) throw new Error(`${archive} has integrity ${found}, not ${INTEGRITY}`);
    run("tar", "-xzf", archive, "package/llama/gitRelease.bundle");
    run("git", "clone", "--quiet", "--bare", "package/llama/gitRelease.bundle", "llama.git");
    const done = join(work, "headers");
    mkdirSync(done);
    for (const [name, path] of Object.entries(FILES)) {
      writeFileSync(join(done, `${name}.h`), run("git", "--git-dir", "llama.git", "show", `HEAD:${path}`));
    }
    renameSync(done, directory); // all or nothing, should the fetch be interrupted
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
