/** Opens a model for a command: progress and the model's notes on stderr, and how long it took. */
import { type MoeModel, openModel } from "../engine/open-model.ts";
import type { Settings } from "./config.ts";
import { openOptions } from "./model-options.ts";
import type { StatusLine } from "./status-line.ts";

export interface OpenedModel {
  readonly model: MoeModel;
  readonly loadMs: number;
}

/** @throws whatever `openModel` throws */
export async function openWithStatus(
  path: string,
  settings: Settings,
  status: StatusLine,
  options: { readonly signal: AbortSignal; readonly planOnly?: boolean },
): Promise<OpenedModel> {
  const start = performance.now();
  try {
    const model = await openModel(path, {
      ...openOptions(path, settings),
      ...options,
      onNote: (note) => process.stderr.write(`note: ${note}\n`),
      onProgress: (done, total) => status.progress("loading", done, total),
    });
    status.clear();
    if (!settings.quiet) for (const note of model.info.notes) process.stderr.write(`note: ${note}\n`);
    return { model, loadMs: performance.now() - start };
  } finally {
    status.clear();
  }
}
