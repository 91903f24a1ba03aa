import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { GgmlType } from "./ggml-types.ts";
import { readMoeLayout } from "./moe-layout.ts";
import { type GgufFile, type GgufTensor, openGguf } from "./open.ts";
import { readRouterWeights, routerTensors } from "./router-tensors.ts";
import { readTensor } from "./tensor-data.ts";

const gguf = openGguf(fileURLToPath(new URL("../../models/demo-moe-q8_0.gguf", import.meta.url)));
const layout = readMoeLayout(gguf);

/** The demo model with some of its tensors as if they were others. */
function changed(change: (tensor: GgufTensor | undefined, name: string) => GgufTensor | undefined): GgufFile {
  return { ...gguf, tensor: (name) => change(gguf.tensor(name), name) };
}

test("routers and norms are read as they are", () => {
  const { weights, norms, hiddenSize, experts } = readRouterWeights(gguf, layout)!;
  expect({ hiddenSize, experts, layers: weights.length }).toEqual({ hiddenSize: 256, experts: 32, layers: 8 });
  for (const [layer, { blockIndex }] of layout.moeLayers.entries()) {
    const bytes = readTensor(gguf, gguf.tensor(`blk.${blockIndex}.ffn_gate_inp.weight`)!);
    expect(new Uint8Array(weights[layer].buffer)).toEqual(Uint8Array.from(bytes));
    expect(norms[layer]).toHaveLength(256);
  }
});

test("a router that is not float32 is none, a norm that is not or that adds a bias is left out", () => {
  const half = changed((tensor, name) =>
    name === "blk.3.ffn_gate_inp.weight" && tensor ? { ...tensor, type: GgmlType.F16 } : tensor,
  );
  expect(readRouterWeights(half, layout)).toBeUndefined();
  expect(
    routerTensors(half, layout)
      .map(({ weights }) => weights === undefined)
      .indexOf(true),
  ).toBe(3);
  const biased = changed((tensor, name) =>
    name === "blk.2.ffn_norm.bias" ? gguf.tensor("blk.2.ffn_norm.weight") : tensor,
  );
  const norms = readRouterWeights(biased, layout)?.norms;
  expect(norms?.map((norm) => norm === undefined).indexOf(true)).toBe(2);
});
