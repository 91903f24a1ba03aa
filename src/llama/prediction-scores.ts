/**
 * Scores a model's predictions of a text: per token its most likely next token and the loss of the one that came. The
 * softmax is ggml's: over 512 rows of 4,096 logits `Math.exp` took 28 ms and a side graph 2.5, in a batch of 100 ms.
 */
import koffi from "koffi";
import type { Libraries } from "./libraries.ts";
import { SideGraph, type SideProgram } from "./side-graph.ts";
import type { NativePointer } from "./structs.ts";

/** What is computed at once: logits and shares stay in the second-level cache until they were looked at. */
const RUN_BYTES = 2 ** 17;

/** The model's output is no number: damaged weights. */
export class LogitsNotFiniteError extends Error {
  override readonly name = "LogitsNotFiniteError";

  constructor() {
    super("The model's output is not a number: the file is damaged. Check its SHA-256 or download it again.");
  }
}

export class PredictionScorer implements Disposable {
  readonly #columns: number;
  readonly #rowsPerRun: number;
  readonly #side: SideGraph;
  readonly #output: NativePointer;
  readonly #shares: Float32Array;
  /** Programs by number of rows: that of full runs, and that of one row for what is left. */
  readonly #programs = new Map<number, SideProgram>();
  #logits = new Float32Array(0);
  #logitsAddress = 0;

  /** @param vocabularySize logits per row */
  constructor(libraries: Libraries, vocabularySize: number) {
    this.#columns = vocabularySize;
    this.#rowsPerRun = Math.max(1, Math.floor(RUN_BYTES / (vocabularySize * 4)));
    this.#side = new SideGraph(libraries);
    const floats = this.#rowsPerRun * vocabularySize;
    this.#output = koffi.alloc("float", floats) as NativePointer;
    this.#shares = new Float32Array(koffi.view(this.#output, floats * 4) as ArrayBuffer);
  }

  /**
   * @param logits address of `[next.length][vocabularySize]` floats
   * @param next the true next token of each row, negative where there is none
   * @param predicted receives the most likely token of each row
   * @param loss receives minus the natural logarithm of the probability of `next`, NaN where there is none
   * @throws LogitsNotFiniteError
   */
  score(logits: number, next: Int32Array, predicted: Int32Array, loss: Float32Array): void {
    const columns = this.#columns;
    const values = this.#view(logits, next.length * columns);
    for (let row = 0; row < next.length; ) {
      const rows = next.length - row >= this.#rowsPerRun ? this.#rowsPerRun : 1;
      if (!this.#program(rows).run(logits + row * columns * 4)) throw new Error("ggml could not compute a softmax");
      for (let i = 0; i < rows; i++, row++) {
        const first = row * columns;
        const best = largest(values, first, columns);
        const share = this.#shares[i * columns + best];
        if (!(share > 0)) throw new LogitsNotFiniteError();
        predicted[row] = best;
        // By way of the largest share, because the share of an unlikely token can be too small for a float.
        const distance = values[first + best] - values[first + next[row]];
        loss[row] = next[row] < 0 ? Number.NaN : distance - Math.log(share);
      }
    }
  }

  dispose(): void {
    for (const program of this.#programs.values()) program.free();
    this.#programs.clear();
    this.#side.dispose();
    koffi.free(this.#output);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #program(rows: number): SideProgram {
    let program = this.#programs.get(rows);
    if (program === undefined) {
      program = this.#side.rowSoftmax({ columns: this.#columns, rows, output: Number(this.#output) });
      this.#programs.set(rows, program);
    }
    return program;
  }

  /** Kept, because each view counts as its length for V8's collector and llama.cpp keeps its buffer. */
  #view(address: number, floats: number): Float32Array {
    if (address !== this.#logitsAddress || this.#logits.length < floats) {
      this.#logits = new Float32Array(koffi.view(BigInt(address), floats * 4) as ArrayBuffer);
      this.#logitsAddress = address;
    }
    return this.#logits;
  }
}

/** Index of the largest of `count` values from `first` on, the first one of equals. */
function largest(values: Float32Array, first: number, count: number): number {
  let best = first;
  let most = values[first];
  for (let i = first + 1; i < first + count; i++) {
    const value = values[i];
    if (value > most) {
      most = value;
      best = i;
    }
  }
  return best - first;
}
