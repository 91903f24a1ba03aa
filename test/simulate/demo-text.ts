/** The shipped model, and text that it was not trained on. */
import { readFileSync } from "node:fs";
import { join } from "node:path";

const MODELS = join(import.meta.dirname, "../../models");
export const DEMO_MODEL = join(MODELS, "demo-moe-q8_0.gguf");
export const HELD_OUT = readFileSync(join(MODELS, "text/prose.txt"), "utf8").slice(2000, 4000);
