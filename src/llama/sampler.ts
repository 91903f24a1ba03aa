/**
 * llama.cpp's own sampler chain, built from options in llama.cpp's order and with its defaults, plus an optional GBNF
 * grammar. Sampling runs natively on the context's logits; nothing here sees text.
 */
import type { Context } from "./context.ts";
import type { LlamaFunctions } from "./functions.ts";
import { GrammarConstraint } from "./grammar.ts";
import { NativeHandle } from "./handle.ts";
import type { Model } from "./model.ts";
import type { NativePointer } from "./structs.ts";

export interface SamplerOptions {
  /** Same seed, same tokens. Default: a random one, see `Sampler.seed`. */
  readonly seed?: number;
  /** 0 always takes the most probable token. Default 0.8. */
  readonly temperature?: number;
  /** Only the k most probable tokens; 0 means all. Default 40. */
  readonly topK?: number;
  /** Only the most probable tokens that together have this probability; 1 is off. Default 0.95. */
  readonly topP?: number;
  /** Only tokens with at least this share of the best one's probability; 0 is off. Default 0.05. */
  readonly minP?: number;
  /** Locally typical sampling; 1 is off. Default 1. */
  readonly typicalP?: number;
  /** How many of the last tokens the three penalties below look at; 0 is off. Default 64. */
  readonly repeatLastN?: number;
  /** Divides the score of repeated tokens, above 0; 1 is off. Default 1. */
  readonly repeatPenalty?: number;
  /** Taken from the score per repetition; 0 is off. Default 0. */
  readonly frequencyPenalty?: number;
  /** Taken from the score of a token that occurred; 0 is off. Default 0. */
  readonly presencePenalty?: number;
  /** Penalises tokens that go on with a repeated sequence. Default off. */
  readonly dry?: DryOptions;
  /** Added to the scores of single tokens; -Infinity forbids one. Default none. */
  readonly logitBias?: ReadonlyMap<number, number>;
  /** GBNF grammar, root rule `root`, that the whole output must follow. Default none. */
  readonly grammar?: string;
}

export interface DryOptions {
  /** Strength; 0 is off. */
  readonly multiplier: number;
  /** The penalty is multiplier x base ^ (length of the repetition - allowedLength). Default 1.75. */
  readonly base?: number;
  /** Longest repetition without penalty, in tokens. Default 2. */
  readonly allowedLength?: number;
  /** How many of the last tokens are searched; 0 is off. Default 64. */
  readonly penaltyLastN?: number;
  /** Strings across which no repetition counts. Default newline, colon, double quote and asterisk. */
  readonly breakers?: readonly string[];
}

/** llama.cpp's "draw a random seed". */
const RANDOM_SEED = 0xffffffff;

/**
 * @throws GrammarError if the grammar does not parse
 * @throws RangeError for an option outside its range
 */
export function createSampler(model: Model, options: SamplerOptions = {}): Sampler {
  const { llama } = model.libraries;
  const grammar = options.grammar === undefined ? undefined : GrammarConstraint.parse(model, options.grammar);
  const params = llama.llama_sampler_chain_default_params();
  const chain = new NativeHandle(
    "sampler",
    llama.llama_sampler_chain_init(params),
    llama.llama_sampler_free,
    model.handle,
  );
  try {
    for (const sampler of samplers(model, options)) llama.llama_sampler_chain_add(chain.address, sampler);
  } catch (error) {
    chain.dispose();
    grammar?.dispose();
    throw error;
  }
  return new Sampler(model, chain, grammar);
}

/** The chain of common_sampler_init (common/sampling.cpp) without the links that no option of ours turns on. */
function* samplers(model: Model, options: SamplerOptions): Generator<NativePointer> {
  const { llama } = model.libraries;
  const { vocabulary } = model;
  const { temperature = 0.8, topK = 40, topP = 0.95, minP = 0.05, typicalP = 1, seed = RANDOM_SEED } = options;
  const { repeatLastN = 64, repeatPenalty = 1, frequencyPenalty = 0, presencePenalty = 0, dry } = options;
  checkFinite({
    temperature,
    topK,
    topP,
    minP,
    typicalP,
    repeatLastN,
    repeatPenalty,
    frequencyPenalty,
    presencePenalty,
  });
  if (repeatPenalty <= 0) throw new RangeError(`repeatPenalty must be above 0, not ${repeatPenalty}`);

  const biases = [...(options.logitBias ?? [])].map(([token, bias]) => ({ token, bias }));
  for (const token of vocabulary.suppressed) biases.push({ token, bias: Number.NEGATIVE_INFINITY });
  if (biases.length > 0) yield llama.llama_sampler_init_logit_bias(vocabulary.size, biases.length, biases);

  yield llama.llama_sampler_init_penalties(
    vocabulary.size,
    repeatLastN,
    repeatPenalty,
    frequencyPenalty,
    presencePenalty,
  );
  if (dry !== undefined) {
    const { multiplier, base = 1.75, allowedLength = 2, penaltyLastN = 64, breakers = ["\n", ":", '"', "*"] } = dry;
    checkFinite({ multiplier, base, allowedLength, penaltyLastN });
    yield llama.llama_sampler_init_dry(
      vocabulary.handle.address,
      multiplier,
      base,
      allowedLength,
      penaltyLastN,
      [...breakers],
      breakers.length,
    );
  }
  if (temperature <= 0) {
    yield llama.llama_sampler_init_greedy();
    return;
  }
  yield llama.llama_sampler_init_top_k(topK);
  yield llama.llama_sampler_init_typical(typicalP, 0);
  yield llama.llama_sampler_init_top_p(topP, 0);
  yield llama.llama_sampler_init_min_p(minP, 0);
  yield llama.llama_sampler_init_temp(temperature);
  yield llama.llama_sampler_init_dist(seed >>> 0);
}

export class Sampler implements Disposable {
  readonly #model: Model;
  readonly #llama: LlamaFunctions;
  readonly #chain: NativeHandle;
  readonly #grammar: GrammarConstraint | undefined;

  /** Use `createSampler`. */
  constructor(model: Model, chain: NativeHandle, grammar: GrammarConstraint | undefined) {
    this.#model = model;
    this.#llama = model.libraries.llama;
    this.#chain = chain;
    this.#grammar = grammar;
  }

  /** The seed in use, also where it was drawn at random; undefined at temperature 0, which draws nothing. */
  get seed(): number | undefined {
    const seed = this.#llama.llama_sampler_get_seed(this.#chain.address);
    return seed === RANDOM_SEED ? undefined : seed;
  }

  /**
   * Draws the next token from the logits at `index` of the context's last batch (-1: the last output) and accepts it.
   * @throws RangeError if there are no logits at `index` (llama.cpp would end the process)
   * @throws GrammarError if no token of the vocabulary goes on with the grammar
   */
  sample(context: Context, index: number): number {
    const logits = context.logits(index);
    if (this.#grammar === undefined) {
      return this.#llama.llama_sampler_sample(this.#chain.address, context.handle.address, index);
    }
    const token = this.#grammar.choose(logits, this.#chain.address);
    this.#grammar.accept(token);
    this.#llama.llama_sampler_accept(this.#chain.address, token);
    return token;
  }

  /** Tells the penalties of prompt tokens; the grammar starts after the prompt and is not moved. */
  acceptPrompt(tokens: Iterable<number>): void {
    for (const token of tokens) {
      this.#checkToken(token);
      this.#llama.llama_sampler_accept(this.#chain.address, token);
    }
  }

  /**
   * Accepts a token of the output that was not drawn here.
   * @throws GrammarError if the grammar does not allow it; nothing is then accepted
   */
  accept(token: number): void {
    this.#checkToken(token);
    const chain = this.#chain.address;
    this.#grammar?.accept(token);
    this.#llama.llama_sampler_accept(chain, token);
  }

  /** Back to the first token: the same seed draws the same numbers again. */
  reset(): void {
    this.#llama.llama_sampler_reset(this.#chain.address);
    this.#grammar?.reset();
  }

  /** An independent sampler in the same state. */
  clone(): Sampler {
    const address = this.#llama.llama_sampler_clone(this.#chain.address);
    const chain = new NativeHandle("sampler", address, this.#llama.llama_sampler_free, this.#model.handle);
    return new Sampler(this.#model, chain, this.#grammar?.clone());
  }

  dispose(): void {
    this.#grammar?.dispose();
    this.#chain.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** The penalties and the grammar index the vocabulary with the token, unchecked. */
  #checkToken(token: number): void {
    if (!Number.isInteger(token) || token < 0 || token >= this.#model.vocabulary.size) {
      throw new RangeError(`There is no token ${token}`);
    }
  }
}

function checkFinite(values: Readonly<Record<string, number>>): void {
  for (const [name, value] of Object.entries(values)) {
    if (!Number.isFinite(value)) throw new RangeError(`${name} must be a number, not ${value}`);
  }
}
