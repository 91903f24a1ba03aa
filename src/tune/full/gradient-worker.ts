/** The program of a training thread: its share of a batch through the model, forward and backward, when it is asked to. */
import { parentPort, workerData } from "node:worker_threads";
import { openGguf } from "../../gguf/index.ts";
import { loadLibraries } from "../../llama/index.ts";
import { addLosses, noLosses } from "./batch-losses.ts";
import type { GradientReply, GradientTask, GradientWorkerData } from "./gradient-workers.ts";
import { LayeredModel } from "./layered-model.ts";
import { localityTerms } from "./locality-terms.ts";
import { OriginalStates } from "./original-states.ts";
import type { TrainingSequence } from "./sequence.ts";
import { readWiring } from "./wiring.ts";

const data = workerData as GradientWorkerData;
const reply = (message: GradientReply) => parentPort?.postMessage(message);
const gguf = openGguf(data.model);
const model = new LayeredModel(loadLibraries(), gguf, readWiring(gguf), data.options);
const terms = data.terms && localityTerms(data.terms);
const originals = data.originals && new OriginalStates(data.originals);

parentPort?.on("message", (task: GradientTask) => {
  try {
    const losses = noLosses();
    if (task.type === "train") for (const gradient of data.gradients) gradient.fill(0);
    for (const batch of batches(task.sequences, data.options.batchTokens)) {
      addLosses(
        losses,
        task.type === "train"
          ? model.gradients(batch, data.gates, { ...task.request, terms, originals }, data.gradients)
          : model.evaluate(batch, data.gates, task.compared),
      );
    }
    reply({ type: "done", losses });
  } catch (error) {
    const { name, message, stack } = error instanceof Error ? error : new Error(String(error));
    reply({ type: "failed", name, message, stack });
  }
});

/** As many sequences at once as memory was made for. */
function* batches(sequences: readonly TrainingSequence[], batchTokens: number): Generator<TrainingSequence[]> {
  let batch: TrainingSequence[] = [];
  let tokens = 0;
  for (const sequence of sequences) {
    if (tokens + sequence.tokens.length > batchTokens && batch.length > 0) {
      yield batch;
      batch = [];
      tokens = 0;
    }
    batch.push(sequence);
    tokens += sequence.tokens.length;
  }
  if (batch.length > 0) yield batch;
}
