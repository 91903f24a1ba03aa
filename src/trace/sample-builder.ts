/** One sample while its routing rows come in, from one row group or several. It checks what it takes. */
import type { DecodedLists } from "./parquet/decode-column.ts";
import type { RoutingGroup } from "./part-reader.ts";
import { checkExpertRows, firstNotFinite } from "./row-check.ts";
import type { SampleTokens } from "./token-table.ts";
import { NO_ID, type TraceDescription, type TraceSample, type WantedColumns } from "./trace.ts";
import { TraceError, type TraceErrorKind } from "./trace-error.ts";

/** Numbers of a sample's arrays at most, 2 GiB of them: more is a mistake in `trace.json`, or wants shorter samples. */
const MAX_SAMPLE_VALUES = 1 << 29;
const CHANGED = "The part is damaged or was changed; copy it again or record again.";

type Numbers = Uint16Array | Float32Array;

export class SampleBuilder {
  readonly #file: string;
  readonly #tokens: SampleTokens;
  readonly #layers: number;
  readonly #expertsUsed: number;
  readonly #experts: number;
  readonly #ids: Uint16Array;
  readonly #lists: readonly { readonly name: "weights" | "probs" | "hidden"; width: number; values: Float32Array }[];
  /** Rows so far. */
  #rows = 0;

  constructor(file: string, description: TraceDescription, tokens: SampleTokens, wanted: WantedColumns) {
    const { model, columns } = description;
    this.#file = file;
    this.#tokens = tokens;
    this.#layers = model.moeBlocks.length;
    this.#expertsUsed = model.expertsUsed;
    this.#experts = model.experts;
    this.#ids = new Uint16Array(this.#sized(model.expertsUsed));
    this.#lists = [
      { name: "weights" as const, width: wanted.weights ? model.expertsUsed : 0 },
      { name: "probs" as const, width: wanted.probs ? model.experts : 0 },
      { name: "hidden" as const, width: wanted.hidden ? columns.hiddenWidth : 0 },
    ]
      .filter(({ width }) => width > 0)
      .map(({ name, width }) => ({ name, width, values: new Float32Array(this.#sized(width)) }));
  }

  get isFull(): boolean {
    return this.#rows === this.#tokens.length * this.#layers;
  }

  /** Takes rows of a group from `from` on, as many as belong to the sample. Returns how many. */
  take(group: RoutingGroup, from: number): number {
    const count = Math.min(group.rows - from, this.#tokens.length * this.#layers - this.#rows);
    this.#checkPlaces(group, from, count);
    const taken = this.#rows;
    this.#copy("experts", group.experts, from, count, this.#ids, this.#expertsUsed, undefined);
    for (const { name, width, values } of this.#lists)
      this.#copy(name, group[name] as DecodedLists<Float32Array>, from, count, values, width, group.experts);
    this.#rows = taken + count;
    return count;
  }

  finish(): TraceSample {
    const { fault } = checkExpertRows(this.#ids, this.#expertsUsed, this.#experts);
    if (fault !== undefined) {
      if (fault.fault === "expert-range")
        throw this.#error(
          "expert-range",
          fault.row,
          `expert ${fault.expert} is not one of ${this.#experts}. ${CHANGED}`,
        );
      if (fault.fault === "duplicate-expert")
        throw this.#error("duplicate-expert", fault.row, `expert ${fault.expert} is there twice. ${CHANGED}`);
      throw this.#error("list-length", fault.row, `an expert follows a free place. ${CHANGED}`);
    }
    for (const { name, width, values } of this.#lists) {
      const at = firstNotFinite(values);
      if (at >= 0) throw this.#error("not-finite", Math.floor(at / width), `"${name}" has ${values[at]}. ${CHANGED}`);
    }
    const list = (name: string) => this.#lists.find((one) => one.name === name)?.values;
    return {
      ...this.#tokens,
      experts: this.#ids,
      weights: list("weights"),
      probs: list("probs"),
      hidden: list("hidden"),
    };
  }

  /** The error of a part that ends before the sample does. */
  missingRows(): TraceError {
    const missing = this.#tokens.length * this.#layers - this.#rows;
    return this.#error(
      "wrong-count",
      this.#rows,
      `the rows end here, ${missing} of this sample are missing. ${CHANGED}`,
    );
  }

  #sized(width: number): number {
    const values = this.#tokens.length * this.#layers * width;
    if (values > MAX_SAMPLE_VALUES)
      throw new TraceError(
        "wrong-count",
        { file: this.#file, sample: this.#tokens.sample },
        `would take ${values} numbers in memory at once. Record shorter samples, or read without this column.`,
      );
    return values;
  }

  #checkPlaces({ samples, positions, layers }: RoutingGroup, from: number, count: number): void {
    const { sample } = this.#tokens;
    let position = Math.floor(this.#rows / this.#layers);
    let layer = this.#rows % this.#layers;
    for (let row = from; row < from + count; row++) {
      if (samples[row] !== sample || positions[row] !== position || layers[row] !== layer)
        throw this.#misplaced(samples[row], positions[row], layers[row], position, layer);
      if (++layer === this.#layers) {
        layer = 0;
        position++;
      }
    }
  }

  /** What the row of another place says about the one that is missing. */
  #misplaced(sample: number, position: number, layer: number, expectedPosition: number, expectedLayer: number) {
    const row = expectedPosition * this.#layers + expectedLayer;
    const found = `sample ${sample}, position ${position}, layer ${layer}`;
    const midToken = expectedLayer > 0;
    if (midToken || (sample === this.#tokens.sample && position === expectedPosition))
      return this.#error("layer-order", row, `this layer is missing; ${found} comes in its place. ${CHANGED}`);
    if (sample === this.#tokens.sample || expectedPosition > 0)
      return this.#error("position-gap", row, `this position is missing; ${found} comes in its place. ${CHANGED}`);
    return this.#error("sample-order", row, `this sample is missing; ${found} comes in its place. ${CHANGED}`);
  }

  /**
   * Lists of `count` rows into `out`, `width` places each. Experts may be fewer than there is room for; weights are as many
   * as experts; other lists are full, or empty where there are no experts.
   */
  #copy(
    name: string,
    lists: DecodedLists<Numbers>,
    from: number,
    count: number,
    out: Numbers,
    width: number,
    experts: DecodedLists<Uint16Array> | undefined,
  ): void {
    const at = this.#rows * width;
    if (lists.each === width && (experts === undefined || experts.each === this.#expertsUsed)) {
      out.set(lists.values.subarray(from * width, (from + count) * width), at);
      return;
    }
    if (experts === undefined) out.fill(NO_ID, at, at + count * width);
    for (let i = 0; i < count; i++) {
      const start = startOf(lists, from + i);
      const end = startOf(lists, from + i + 1);
      const chosen = experts === undefined ? undefined : startOf(experts, from + i + 1) - startOf(experts, from + i);
      const most = chosen === undefined ? width : name === "weights" ? chosen : chosen === 0 ? 0 : width;
      if (chosen === undefined ? end - start > most : end - start !== most)
        throw this.#error(
          "list-length",
          this.#rows + i,
          `"${name}" has ${end - start} elements, not ${most}${chosen === undefined ? " at most" : ""}. ${CHANGED}`,
        );
      out.set(lists.values.subarray(start, end), at + i * width);
    }
  }

  #error(kind: TraceErrorKind, row: number, sentence: string): TraceError {
    const position = Math.floor(row / this.#layers);
    const place = { file: this.#file, sample: this.#tokens.sample, position, layer: row % this.#layers };
    return new TraceError(kind, place, sentence);
  }
}

/** Index of the first element of a row. */
function startOf({ each, starts }: DecodedLists<Numbers>, row: number): number {
  return starts === undefined ? (each as number) * row : starts[row];
}
