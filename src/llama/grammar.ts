/**
 * A GBNF grammar that output must follow, applied as llama.cpp's own tools do: draw freely, and only if the token drawn
 * does not fit, mask the whole vocabulary and draw again. Checking a whole vocabulary costs milliseconds, one token
 * microseconds, and most tokens drawn fit.
 */
import koffi from "koffi";
import { GrammarError } from "./errors.ts";
import type { LlamaFunctions } from "./functions.ts";
import { NativeHandle } from "./handle.ts";
import type { Model } from "./model.ts";
import { type NativePointer, TokenDataArrayStruct, TokenDataStruct } from "./structs.ts";

const HEADER_BYTES = koffi.sizeof(TokenDataArrayStruct);
const SELECTED_AT = koffi.offsetof(TokenDataArrayStruct, "selected");
const CANDIDATE_BYTES = koffi.sizeof(TokenDataStruct);
const CANDIDATE_WORDS = CANDIDATE_BYTES / 4; // id, logit, p

export class GrammarConstraint {
  readonly #model: Model;
  readonly #llama: LlamaFunctions;
  readonly #grammar: NativeHandle;
  readonly #candidates: CandidateArray;
  readonly #single: CandidateArray;

  private constructor(model: Model, address: NativePointer) {
    this.#model = model;
    this.#llama = model.libraries.llama;
    this.#grammar = new NativeHandle("sampler", address, this.#llama.llama_sampler_free, model.handle);
    this.#candidates = new CandidateArray(model.vocabulary.size, this.#grammar);
    this.#single = new CandidateArray(1, this.#grammar);
  }

  /** @throws GrammarError if `source` does not parse; llama.cpp prints where to stderr */
  static parse(model: Model, source: string): GrammarConstraint {
    const { llama, log } = model.libraries;
    log.clear();
    // An empty source would make a sampler that allows everything.
    const address =
      source.trim() === "" ? null : llama.llama_sampler_init_grammar(model.vocabulary.handle.address, source, "root");
    if (address === null) {
      const reason = log.problems().join(" | ") || "it is empty";
      throw new GrammarError(
        `The grammar does not parse (${reason}); it is GBNF and starts at the rule "root ::= ..."`,
      );
    }
    return new GrammarConstraint(model, address);
  }

  /**
   * The token that `chain` selects among those that the grammar allows next. Neither accepts it.
   * @param logits one per vocabulary entry
   * @throws GrammarError if the grammar allows no token
   */
  choose(logits: Float32Array, chain: NativePointer): number {
    const candidates = this.#candidates;
    candidates.fill(logits);
    this.#llama.llama_sampler_apply(chain, candidates.address);
    const free = candidates.selected();
    if (this.allows(free)) return free;
    candidates.fill(logits);
    this.#llama.llama_sampler_apply(this.#grammar.address, candidates.address);
    this.#llama.llama_sampler_apply(chain, candidates.address);
    const constrained = candidates.selected();
    if (!this.allows(constrained)) throw new GrammarError("No token of the vocabulary goes on with the grammar");
    return constrained;
  }

  /** Whether the grammar allows `token` next. */
  allows(token: number): boolean {
    this.#single.fillOne(token);
    this.#llama.llama_sampler_apply(this.#grammar.address, this.#single.address);
    return this.#single.firstLogit() !== Number.NEGATIVE_INFINITY;
  }

  /** @throws GrammarError if the grammar does not allow `token` (llama.cpp would end the process) */
  accept(token: number): void {
    if (!this.allows(token)) throw new GrammarError(`The grammar does not allow token ${token} here`);
    this.#llama.llama_sampler_accept(this.#grammar.address, token);
  }

  reset(): void {
    this.#llama.llama_sampler_reset(this.#grammar.address);
  }

  clone(): GrammarConstraint {
    return new GrammarConstraint(this.#model, this.#llama.llama_sampler_clone(this.#grammar.address));
  }

  dispose(): void {
    this.#grammar.dispose();
  }
}

/** A native `llama_token_data_array` with its candidates, refilled for every token. */
class CandidateArray {
  readonly #size: number;
  readonly #handle: NativeHandle;
  readonly #header: DataView;
  readonly #ids: Int32Array;
  readonly #values: Float32Array;
  readonly #data: NativePointer;

  constructor(size: number, owner: NativeHandle) {
    this.#size = size;
    const bytes = HEADER_BYTES + size * CANDIDATE_BYTES;
    const address: NativePointer = koffi.alloc("uint8_t", bytes);
    this.#handle = new NativeHandle("sampler", address, koffi.free, owner);
    this.#data = address + BigInt(HEADER_BYTES);
    const memory = koffi.view(address, bytes);
    this.#header = new DataView(memory, 0, HEADER_BYTES);
    this.#ids = new Int32Array(memory, HEADER_BYTES, size * CANDIDATE_WORDS);
    this.#values = new Float32Array(memory, HEADER_BYTES, size * CANDIDATE_WORDS);
  }

  get address(): NativePointer {
    return this.#handle.address;
  }

  fill(logits: Float32Array): void {
    this.#start();
    for (let token = 0, at = 0; token < this.#size; token++, at += CANDIDATE_WORDS) {
      this.#ids[at] = token;
      this.#values[at + 1] = logits[token];
      this.#values[at + 2] = 0;
    }
  }

  fillOne(token: number): void {
    this.#start();
    this.#ids[0] = token;
    this.#values[1] = 1;
    this.#values[2] = 0;
  }

  firstLogit(): number {
    return this.#values[1];
  }

  /** The selected token. Samplers may sort the candidates or point to others (include/llama.h, llama_token_data_array). */
  selected(): number {
    const index = this.#header.getBigInt64(SELECTED_AT, true);
    if (index < 0n) throw new GrammarError("The sampler left no candidate");
    return koffi.decode.int32(this.#header.getBigUint64(0, true) + index * BigInt(CANDIDATE_BYTES));
  }

  #start(): void {
    this.#handle.assertUsable();
    this.#header.setBigUint64(0, this.#data, true);
    this.#header.setBigUint64(8, BigInt(this.#size), true);
    this.#header.setBigInt64(SELECTED_AT, -1n, true);
    this.#header.setUint8(24, 0);
  }
}
