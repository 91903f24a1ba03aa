/** What tuning will cost, in sentences, before anything is computed: from sizes alone, so times are no more than an order. */
import type { BaseModel } from "../../adapter/index.ts";
import { readMoeLayout } from "../../gguf/index.ts";
import { formatBytes } from "../../number-text.ts";
import { captureBatches, captureReadBytes } from "../capture-batches.ts";
import { inputsRoom } from "../captured-inputs.ts";
import type { TrainingEstimate } from "../full/train-full.ts";
import { layerBytes } from "./layer-memory.ts";
import type { TuningDocuments } from "./tuning-documents.ts";
import type { TuningEstimate, TuningJob } from "./tuning-job.ts";

export function estimateSweeps(
  job: TuningJob,
  base: BaseModel,
  { documents, longest, tokens, trace }: TuningDocuments,
): TuningEstimate {
  const { method, sweeps, threads, local, engine } = job;
  const { gguf, width, gates } = base;
  const passes = sweeps - (trace === undefined ? 0 : 1);
  const layout = readMoeLayout(gguf);
  const used = (layout.expertBytesTotal * layout.expertsUsed) / layout.expertsPerLayer;
  const text = { longest, documents: documents.length };
  const batches = captureBatches(engine, gguf, layout, text);
  const room = inputsRoom({ layers: gates.length, width }, tokens);
  const work =
    method === "local"
      ? `${local.steps} steps a layer on a layer's inputs in memory`
      : `one linear system of ${width} unknowns a layer`;
  return {
    sentences: [
      `${documents.length} documents, ${tokens.toLocaleString("en-US")} tokens, through the model ${passes} time${passes === 1 ? "" : "s"}; a token multiplies with ${formatBytes(layout.denseBytes + used)} of weights.`,
      ...(batches.streams && passes > 0
        ? [
            `Experts are read from the drive again for every ${batches.rows} tokens: at most ${formatBytes(captureReadBytes(batches, layout, text))} each time.`,
          ]
        : []),
      `Router inputs take ${formatBytes(room.neededBytes)} while they are tuned on, in ${room.directory} (${formatBytes(room.freeBytes)} free).${room.isMemory ? " That folder is in memory, beside the budget: set TMPDIR to one on a drive." : ""}`,
      `${gates.length} layers, ${sweeps} sweep${sweeps === 1 ? "" : "s"}, ${work}; up to ${threads} threads, ${formatBytes(layerBytes(job, base, longest))} each beside inputs.`,
    ],
  };
}

export function estimateFull(
  { full }: TuningJob,
  { gates }: BaseModel,
  {
    tokens,
    operations,
    expectedSeconds,
    activeParameters,
    threadBytes,
    originalBytes,
    threads,
    fromStep,
  }: TrainingEstimate,
): TuningEstimate {
  return {
    sentences: [
      `${full.steps - fromStep} steps, ${Math.round(tokens).toLocaleString("en-US")} tokens${fromStep > 0 ? `, going on from step ${fromStep}` : ""}: ${operations.toExponential(1)} operations, in the order of ${durationText(expectedSeconds)} on ${threads} threads.`,
      `${gates.length} gates are trained; a token multiplies with ${(activeParameters / 1e6).toFixed(1)} million parameters.`,
      `A thread takes ${formatBytes(threadBytes)} beside the model's file${originalBytes > 0 ? `; what the untuned model says takes ${formatBytes(originalBytes)}` : ""}.`,
    ],
  };
}

function durationText(seconds: number): string {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} minutes` : `${(seconds / 3600).toFixed(1)} hours`;
}
