import { describe, expect, test } from "vitest";
import { CHeader } from "../../test/llama-header/c-declarations.ts";
import { obtainHeaders } from "../../test/llama-header/headers.ts";
import { loadLibraries } from "./index.ts";
import { type NativeFloats, nativeFloats, nativeInts } from "./native-arrays.ts";
import { GRAPH_PROTOTYPES, type Tensor, type TensorGraph } from "./tensor-graph.ts";
import { TensorMath } from "./tensor-math.ts";

const headers = obtainHeaders();

describe.skipIf(!headers.available)("ggml.h of the shipped libraries", () => {
  const header = headers.available ? new CHeader(headers.text.ggml, headers.text.backend) : new CHeader();
  // The allocator's four functions are in ggml-alloc.h, which is not among the headers that are kept.
  const known = Object.entries(GRAPH_PROTOTYPES).filter(([name]) => !name.startsWith("ggml_gallocr"));

  test.each(known)("function %s", (name, prototype) => {
    const match = /^(.*?[\s*])(\w+)\((.*)\)$/.exec(prototype);
    expect(match?.[2]).toBe(name);
    expect(header.signature(match![1], match![3])).toEqual(header.function(name));
  });
});

describe("a graph", () => {
  /** Computes one node from inputs of the given values. */
  function computed(count: number, build: (graph: TensorGraph, input: typeof place) => Tensor): number[] {
    using math = new TensorMath(loadLibraries(), { threads: 1 });
    using result = nativeFloats(count);
    const placed: NativeFloats[] = [];
    let graphNow: TensorGraph | undefined;
    function place(values: readonly number[], shape: readonly number[]): Tensor {
      const memory = nativeFloats(values.length);
      memory.values.set(values);
      placed.push(memory);
      return (graphNow as TensorGraph).input(memory.address, shape);
    }
    math.compute((graph) => {
      graphNow = graph;
      graph.into(result.address, build(graph, place));
    });
    for (const memory of placed) memory[Symbol.dispose]();
    return [...result.values];
  }

  test("product: rows of the first with rows of the second", () => {
    const found = computed(4, (graph, input) =>
      graph.product(input([1, 2, 3, 4], [2, 2]), input([5, 6, 7, 8], [2, 2])),
    );
    expect(found).toEqual([17, 39, 23, 53]);
  });

  test("outerProduct sums over rows", () => {
    // [m = 2, inner = 2] x [n = 1, inner = 2]: 1 * 5 + 3 * 6, 2 * 5 + 4 * 6
    const found = computed(2, (graph, input) => graph.outerProduct(input([1, 2, 3, 4], [2, 2]), input([5, 6], [1, 2])));
    expect(found).toEqual([23, 34]);
  });

  test("transposed and permuted copies", () => {
    const values = [1, 2, 3, 4, 5, 6];
    expect(computed(6, (graph, input) => graph.transposed(input(values, [3, 2])))).toEqual([1, 4, 2, 5, 3, 6]);
    // [1, 3, 2] -> [3, 2, 1]: the first dimension goes last.
    const found = computed(6, (graph, input) => graph.permuted(input(values, [1, 3, 2]), [2, 0, 1, 3]));
    expect(found).toEqual(values);
  });

  test("rows by index", () => {
    using indices = nativeInts(3);
    indices.values.set([2, 0, 2]);
    const found = computed(3, (graph, input) =>
      graph.rows(input([10, 20, 30], [1, 3]), graph.integers(indices.address, 3)),
    );
    expect(found).toEqual([30, 10, 30]);
  });

  test("a softmax with scale and mask, and its gradient", () => {
    const mask = [0, Number.NEGATIVE_INFINITY, 0];
    const softmax = (graph: TensorGraph, input: (values: number[], shape: number[]) => Tensor) =>
      graph.softmax(input([Math.log(4), 9, 0], [3]), { scale: 0.5, mask: input(mask, [3, 1]) });
    const shares = computed(3, softmax);
    expect(shares[0]).toBeCloseTo(2 / 3, 6);
    expect(shares[1]).toBe(0);
    // scale * p * (g - <p, g>) for g = (1, 0, 0)
    const gradient = computed(3, (graph, input) =>
      graph.softmaxGradient(input([1, 0, 0], [3]), softmax(graph, input), 0.5),
    );
    expect(gradient[0]).toBeCloseTo(1 / 9, 6);
    expect(gradient[2]).toBeCloseTo(-1 / 9, 6);
  });

  test("inputs and results keep their places from one graph to the next", () => {
    using math = new TensorMath(loadLibraries(), { threads: 1 });
    using values = nativeFloats(3);
    values.values.set([1, 2, 3]);
    for (let i = 0; i < 3; i++)
      math.compute((graph) => {
        const input = graph.input(values.address, [3]);
        graph.into(values.address, graph.add(graph.scaled(input, 2), input));
      });
    expect([...values.values]).toEqual([27, 54, 81]);
  });
});
