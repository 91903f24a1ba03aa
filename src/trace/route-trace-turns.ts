/**
 * Rows of a `route_trace v1` file put together as tokens: the prompt of a turn as one piece, because the engine computed it
 * as one batch, then the decoded tokens. A row that does not fit is an error that names its line.
 */
import { type RouteTraceHeader, type RouteTraceRow, readRouteTrace } from "./route-trace-file.ts";
import { DECODE, NO_ID, PREFILL, type TracePiece } from "./trace.ts";
import { TraceError } from "./trace-error.ts";

export type TurnItem =
  | { readonly kind: "header"; readonly header: RouteTraceHeader }
  | { readonly kind: "begin" }
  /** `withoutLastLayer` counts tokens for which the last layer was not computed. */
  | { readonly kind: "piece"; readonly piece: WeightedPiece; readonly withoutLastLayer: number }
  | { readonly kind: "end" };

export type WeightedPiece = TracePiece & { readonly weights: Float32Array };

/** Blocks that have experts, ascending. */
export function moeBlocksOf({ expertBytes }: RouteTraceHeader): number[] {
  return [...expertBytes.keys()].filter((block) => expertBytes[block] > 0);
}

/** Decoded tokens are handed on so many at a time. */
const DECODE_PIECE = 256;

/** @throws TraceError `bad-import`, `unreadable` */
export async function* readTurns(file: string, onBytes?: (bytes: number) => void): AsyncGenerator<TurnItem, void> {
  let turn: number | undefined;
  let rows: TurnRows | undefined;
  for await (const item of readRouteTrace(file, onBytes)) {
    if (!Array.isArray(item)) {
      rows = new TurnRows(file, item);
      yield { kind: "header", header: item };
      continue;
    }
    if (rows === undefined) continue;
    for (const row of item) {
      if (row.turn !== turn) {
        if (turn !== undefined) {
          if (row.turn < turn) throw fault(file, row, `turn ${row.turn} comes after turn ${turn}.`);
          yield* rows.flush();
          yield { kind: "end" };
        }
        turn = row.turn;
        rows.beginTurn();
        yield { kind: "begin" };
      }
      if (rows.endsPiece(row)) yield* rows.flush();
      rows.add(row);
    }
  }
  if (rows === undefined || turn === undefined) throw fault(file, undefined, "has no rows: nothing was recorded.");
  yield* rows.flush();
  yield { kind: "end" };
}

class TurnRows {
  readonly #file: string;
  readonly #header: RouteTraceHeader;
  readonly #layers: number;
  /** By block. */
  readonly #layerOf: readonly (number | undefined)[];
  #experts: Uint16Array = new Uint16Array(0);
  #weights: Float32Array = new Float32Array(0);
  /** [token][layer] Rows so far. */
  #counts: Uint16Array = new Uint16Array(0);
  /** Tokens of the piece. */
  #tokens = 0;
  #isDecode = false;
  /** Step of the piece's first token; undefined at the start of a turn. */
  #firstStep: number | undefined;
  #batch = 0;

  constructor(file: string, header: RouteTraceHeader) {
    this.#file = file;
    this.#header = header;
    const blocks = moeBlocksOf(header);
    this.#layers = blocks.length;
    this.#layerOf = header.expertBytes.map((_, block) => {
      const layer = blocks.indexOf(block);
      return layer < 0 ? undefined : layer;
    });
  }

  beginTurn(): void {
    this.#firstStep = undefined;
    this.#isDecode = false;
    this.#batch = 0;
  }

  /** Whether the tokens so far have to be handed on before the row can be added. */
  endsPiece(row: RouteTraceRow): boolean {
    if (this.#tokens === 0) return false;
    return row.isDecode !== this.#isDecode || (row.isDecode && this.#tokens >= DECODE_PIECE && this.#isNewToken(row));
  }

  add(row: RouteTraceRow): void {
    const { experts, expertsUsed } = this.#header;
    const layer = this.#layerOf[row.block];
    if (layer === undefined)
      throw fault(this.#file, row, `layer ${row.block} has no experts according to the lines with "# layer=".`);
    if (row.expert >= experts) throw fault(this.#file, row, `expert ${row.expert} is not one of ${experts}.`);
    if (this.#tokens === 0 && row.isDecode !== this.#isDecode) {
      if (this.#isDecode) throw fault(this.#file, row, "the prompt goes on after decoding began.");
      this.#isDecode = true;
    }
    this.#firstStep ??= row.step;
    const token = row.step - this.#firstStep;
    if (token < 0 || token > this.#tokens)
      throw fault(this.#file, row, `step ${row.step} comes where step ${this.#firstStep + this.#tokens} has to be.`);
    if (token === this.#tokens) this.#addToken();
    const cell = token * this.#layers + layer;
    if (row.slot !== this.#counts[cell] || row.slot >= expertsUsed)
      throw fault(
        this.#file,
        row,
        `slot ${row.slot} comes where slot ${this.#counts[cell]} of ${expertsUsed} has to be.`,
      );
    const at = cell * expertsUsed;
    if (this.#experts.subarray(at, at + row.slot).includes(row.expert))
      throw fault(this.#file, row, `expert ${row.expert} comes twice for one token.`);
    this.#experts[at + row.slot] = row.expert;
    this.#weights[at + row.slot] = row.weight;
    this.#counts[cell]++;
  }

  /** The tokens so far as a piece, if there are any. */
  *flush(): Iterable<TurnItem> {
    if (this.#tokens === 0 || this.#firstStep === undefined) return;
    const withoutLastLayer = this.#checkComplete(this.#firstStep);
    const length = this.#tokens;
    const values = length * this.#layers * this.#header.expertsUsed;
    const firstBatch = this.#batch;
    const isDecode = this.#isDecode;
    const piece: WeightedPiece = {
      length,
      phases: new Uint8Array(length).fill(isDecode ? DECODE : PREFILL),
      batches: Uint32Array.from({ length }, (_, i) => firstBatch + (isDecode ? i : 0)),
      experts: this.#experts.slice(0, values),
      weights: this.#weights.slice(0, values),
      probs: undefined,
      hidden: undefined,
      tokens: undefined,
      predicted: undefined,
      loss: undefined,
    };
    this.#batch += isDecode ? length : 1;
    this.#firstStep += length;
    this.#tokens = 0;
    yield { kind: "piece", piece, withoutLastLayer };
  }

  #isNewToken({ step }: RouteTraceRow): boolean {
    return this.#firstStep !== undefined && step === this.#firstStep + this.#tokens;
  }

  #addToken(): void {
    const values = this.#layers * this.#header.expertsUsed;
    if ((this.#tokens + 1) * values > this.#experts.length) {
      const capacity = Math.max(DECODE_PIECE, 2 * this.#tokens);
      this.#experts = grown(this.#experts, new Uint16Array(capacity * values));
      this.#weights = grown(this.#weights, new Float32Array(capacity * values));
      this.#counts = grown(this.#counts, new Uint16Array(capacity * this.#layers));
    }
    this.#experts.fill(NO_ID, this.#tokens * values, (this.#tokens + 1) * values);
    this.#weights.fill(0, this.#tokens * values, (this.#tokens + 1) * values);
    this.#counts.fill(0, this.#tokens * this.#layers, (this.#tokens + 1) * this.#layers);
    this.#tokens++;
  }

  /**
   * Every token has all rows of all layers. One exception: of a prompt, llama.cpp computes the last block only for tokens
   * whose output is wanted, and the engine wanted the last one's. Returns how many tokens that leaves out.
   */
  #checkComplete(firstStep: number): number {
    const { expertsUsed } = this.#header;
    let withoutLastLayer = 0;
    for (let token = 0; token < this.#tokens; token++)
      for (let layer = 0; layer < this.#layers; layer++) {
        const count = this.#counts[token * this.#layers + layer];
        if (count === expertsUsed) continue;
        if (count > 0 || this.#isDecode || layer < this.#layers - 1) {
          const where = `step ${firstStep + token}, MoE layer ${layer}`;
          throw fault(this.#file, undefined, `${where} has ${count} rows of ${expertsUsed}. Was the file cut off?`);
        }
        withoutLastLayer++;
      }
    return withoutLastLayer;
  }
}

function grown<A extends Uint16Array | Float32Array>(from: A, to: A): A {
  to.set(from);
  return to;
}

function fault(file: string, row: RouteTraceRow | undefined, sentence: string): TraceError {
  return new TraceError("bad-import", { file, ...(row === undefined ? {} : { line: row.line }) }, sentence);
}
