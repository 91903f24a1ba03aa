/** The worker of the "worker thread" layout: makes tokens when it is told to and posts each piece of text, as the model's process does. */
import { parentPort, workerData } from "node:worker_threads";
import type { LayoutMessage } from "./process-layouts.ts";
import { openForTokens } from "./process-tokens.ts";

const maker = openForTokens(workerData as LayoutMessage);
parentPort?.on("message", ({ tokens, count }: { readonly tokens: readonly number[]; readonly count: number }) => {
  parentPort?.postMessage(maker.make(tokens, count, (piece) => parentPort?.postMessage(piece)));
});
