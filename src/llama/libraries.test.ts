import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { LibraryMissingError, LibraryVersionError, UnsupportedPlatformError } from "./errors.ts";
import {
  findLibraries,
  LLAMA_VERSION,
  librariesIn,
  loadLibraries,
  PACKAGE_VERSION,
  platformPackage,
} from "./libraries.ts";

describe("platformPackage", () => {
  it("knows the two platforms", () => {
    expect(platformPackage("linux", "x64")).toBe("@node-llama-cpp/linux-x64");
    expect(platformPackage("linux", "arm64")).toBe("@node-llama-cpp/linux-arm64");
  });

  it("refuses other systems and says what to do", () => {
    expect(() => platformPackage("win32", "x64")).toThrow(UnsupportedPlatformError);
    expect(() => platformPackage("win32", "x64")).toThrow(/WSL/);
    expect(() => platformPackage("darwin", "arm64")).toThrow(/macOS.*virtual machine/);
    expect(() => platformPackage("linux", "riscv64")).toThrow(/linux riscv64/);
  });
});

describe("librariesIn", () => {
  let directory: string;
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), "warmset-libraries-"));
  });
  afterAll(() => rmSync(directory, { recursive: true }));

  const find = (...files: string[]) => {
    rmSync(directory, { recursive: true });
    directory = mkdtempSync(join(tmpdir(), "warmset-libraries-"));
    for (const file of files) writeFileSync(join(directory, file), "");
    return librariesIn(directory, "@node-llama-cpp/linux-x64");
  };

  it("picks the three libraries and not their neighbours", () => {
    const paths = find(
      "libggml-base.so",
      "libggml-cpu-haswell.so",
      `libggml.v${LLAMA_VERSION}.so`,
      "libllama-common.so",
      `libllama.v${LLAMA_VERSION}.so`,
    );
    expect(basename(paths.ggmlBase)).toBe("libggml-base.so");
    expect(basename(paths.ggml)).toBe(`libggml.v${LLAMA_VERSION}.so`);
    expect(basename(paths.llama)).toBe(`libllama.v${LLAMA_VERSION}.so`);
  });

  it("refuses another version and names the package to install", () => {
    const another = () => find("libggml-base.so", "libggml.v0.6.1.so", "libllama.v0.6.1.so");
    expect(another).toThrow(LibraryVersionError);
    expect(another).toThrow(`@node-llama-cpp/linux-x64@${PACKAGE_VERSION}`);
    expect(another).toThrow(/0\.6\.1/);
  });

  it("says what is missing and how to get it", () => {
    const incomplete = () => find("libggml-base.so", `libllama.v${LLAMA_VERSION}.so`);
    expect(incomplete).toThrow(LibraryMissingError);
    expect(incomplete).toThrow(/no libggml in .*npm install --include=optional/s);
    expect(() => librariesIn(join(directory, "none"), "@node-llama-cpp/linux-x64")).toThrow(LibraryMissingError);
  });
});

describe("the installed libraries", () => {
  it("load once and are v0.5.0", () => {
    const libraries = loadLibraries();
    expect(loadLibraries()).toBe(libraries);
    expect(libraries.version.split("-")[0]).toBe(LLAMA_VERSION);
    expect(libraries.paths).toEqual(findLibraries());
    for (const path of Object.values(libraries.paths)) expect(existsSync(path)).toBe(true);
  });

  it.runIf(process.platform === "linux")("give the path of libllama as the kernel shows it", () => {
    expect(readFileSync("/proc/self/maps", "utf8")).toContain(` ${loadLibraries().paths.llama}\n`);
  });

  it("give access to the C library", () => {
    expect(loadLibraries().libc.func("int getpid(void)")()).toBe(process.pid);
  });
});
