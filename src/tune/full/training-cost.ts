/**
 * What a training run will cost, before it starts: operations per token from the model's sizes, memory from what is kept.
 * How fast this machine is, it has to be told.
 */
import type { GgufTensor } from "../../gguf/index.ts";
import { LanguageHead, type TaskWeights } from "./language-head.ts";
import type { LayeredModelOptions } from "./layered-model.ts";
import type { Wiring } from "./wiring.ts";

export interface TrainingCost {
  /** Floating-point operations of one token, forward and backward. */
  readonly operationsPerToken: number;
  /** Parameters that a token is multiplied with. */
  readonly activeParameters: number;
  /** Bytes of one thread, without Node and the page cache of the model's file. */
  readonly threadBytes: number;
}

const elements = ({ shape }: GgufTensor): number => shape.reduce((product, length) => product * length, 1);
const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

export function trainingCost(
  wiring: Wiring,
  { batchTokens, sequenceTokens, withOriginal = false }: LayeredModelOptions,
  task: TaskWeights,
): TrainingCost {
  const { layers, hidden, heads, headSize, router } = wiring;
  const share = router.used / router.experts;
  const attention = sum(layers.map((l) => sum([l.query, l.key, l.value, l.output].map(elements))));
  const network = ({ gate, up, down }: { gate: GgufTensor; up: GgufTensor; down: GgufTensor }) =>
    sum([gate, up, down].map(elements));
  const experts = sum(layers.map((l) => share * network(l.experts) + (l.shared ? network(l.shared) : 0)));
  const gates = layers.length * hidden * router.experts;
  const head = elements(wiring.head);
  // One product of queries with keys or of shares with values, over all keys: the masked half is computed too.
  const scores = layers.length * heads * headSize * sequenceTokens;

  const forward = attention + experts + gates + head + 2 * scores;
  // Of the forward pass all but the last product of attention and experts is repeated; then one product each way.
  const backward = attention * 1.75 + experts * (2 / 3 + 1) + gates * 3 + head + 5 * scores;
  const passes = task.distillation !== 0 ? 2 : 1;
  const states = batchTokens * hidden * 4;
  const attentionScratch = 5 * heads * sequenceTokens * sequenceTokens * 4;
  const expertScratch = Math.max(...layers.map((l) => network(l.experts) / router.experts)) * 4 * 2;
  return {
    operationsPerToken: 2 * (forward * passes + backward),
    activeParameters: attention + experts + gates + head,
    threadBytes:
      (2 * layers.length + 6 + (withOriginal ? 1 : 0)) * states +
      gates * 4 * 2 +
      LanguageHead.bytes(wiring, batchTokens, withOriginal) +
      attentionScratch +
      expertScratch +
      2 ** 26,
  };
}
