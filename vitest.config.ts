import { defineConfig } from "vitest/config";

// The model tests spin two ggml threads each, so files run one after another: side by side they only slow each other.
export default defineConfig({
  test: {
    include: ["src/**/*.test.ts", "test/**/*.test.ts"],
    globalSetup: "scripts/compile-for-tests.mjs",
    fileParallelism: false,
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
