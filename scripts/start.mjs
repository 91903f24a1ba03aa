/**
 * `npm start`: builds what is missing and lets the shipped model tell a story with memory for half its experts. Further
 * arguments go to `warmset run` (`npm start -- --seed 3`).
 */
import { fileURLToPath } from "node:url";
import { buildIfStale } from "./build.mjs";

const model = fileURLToPath(new URL("../models/demo-moe-q8_0.gguf", import.meta.url));
const status = buildIfStale();
if (status === 0) {
  const story = ["--prompt", "Tell me a story about a fox.", "--temp", "0.7", "--seed", "4", "--learned", "off"];
  process.argv.splice(2, 0, "run", model, "--expert-memory", "50%", ...story);
  await import("../dist/cli/main.js");
} else process.exitCode = status;
