/** The model and the texts that the bench's programs use unless others are named. */
import path from "node:path";
import { fileURLToPath } from "node:url";
import { progress } from "./bench-program.ts";
import { type HeldOutText, readHeldOutTexts } from "./held-out.ts";
import { inflatedModel } from "./inflate.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** The demo model as it ships: it fits any memory. */
export const DEMO_MODEL = path.join(root, "models/demo-moe-q8_0.gguf");

/** Path of the demo model inflated to 6.9 GB, written first if need be. */
export function inflatedDemo(signal: AbortSignal): Promise<string> {
  let told = 0;
  return inflatedModel(DEMO_MODEL, {
    signal,
    onProgress({ writtenBytes, totalBytes }) {
      const percent = Math.floor((100 * writtenBytes) / totalBytes);
      if (percent === told || percent % 10 !== 0) return;
      told = percent;
      progress(`inflating the demo model: ${percent} %`);
    },
  });
}

/** Held-out texts of the domains that ship, and of those whose texts are copyleft and lie beside the repository. */
export function heldOutTexts(): HeldOutText[] {
  return readHeldOutTexts([path.join(root, "models/text"), path.join(root, "../shared/data/model/text")]);
}
