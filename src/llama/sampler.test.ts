import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { Batch } from "./batch.ts";
import { generate, loadDemoModel, logitsAfter, smallContext } from "./demo-model.test-data.ts";
import { DisposedError, GrammarError } from "./errors.ts";
import { createSampler, type SamplerOptions } from "./sampler.ts";

const model = loadDemoModel();
const { vocabulary } = model;
const context = smallContext(model);
afterAll(() => model.dispose());

const STORY = vocabulary.tokenize("Once upon a time");

/** Text that a sampler with these options writes. */
function write(options: SamplerOptions, count = 24, prompt: Int32Array = STORY): string {
  using sampler = createSampler(model, options);
  context.clear();
  return vocabulary.detokenize(generate(context, prompt, count, () => sampler.sample(context, -1)));
}

/** The most probable token after the story's beginning, whose logits the context then holds. */
function bestAfterStory(): number {
  context.clear();
  const logits = logitsAfter(context, STORY);
  return logits.indexOf(Math.max(...logits));
}

describe("createSampler", () => {
  it("is greedy at temperature 0", () => {
    expect(write({ temperature: 0 })).toMatch(/^ there was a little sparrow named Emma/);
    using sampler = createSampler(model, { temperature: 0 });
    expect(sampler.seed).toBeUndefined();
    const best = bestAfterStory();
    expect(sampler.sample(context, -1)).toBe(best);
  });

  it("draws the same text from the same seed, and others from others", () => {
    const texts = [1, 2, 3, 4].map((seed) => write({ seed }));
    expect([1, 2, 3, 4].map((seed) => write({ seed }))).toEqual(texts);
    expect(new Set(texts).size).toBeGreaterThan(1);
  });

  it("tells a random seed so that the text can be repeated", () => {
    using sampler = createSampler(model);
    const seed = sampler.seed as number;
    expect(seed).toBeGreaterThanOrEqual(0);
    context.clear();
    const tokens = generate(context, STORY, 24, () => sampler.sample(context, -1));
    expect(write({ seed })).toBe(vocabulary.detokenize(tokens));
  });

  it("restricts the draw by top-k, top-p, min-p and typical-p", () => {
    const greedy = write({ temperature: 0 });
    const hot: SamplerOptions = { seed: 5, temperature: 3, topK: 0, topP: 1, minP: 0 };
    expect(write(hot)).not.toBe(greedy);
    expect(write({ ...hot, topK: 1 })).toBe(greedy);
    expect(write({ ...hot, topP: 0.001 })).toBe(greedy);
    expect(write({ ...hot, minP: 1 })).toBe(greedy);
    expect(write({ ...hot, typicalP: 0.5 })).not.toBe(write(hot));
  });

  it("biases and forbids tokens", () => {
    const best = bestAfterStory();
    using forbid = createSampler(model, { temperature: 0, logitBias: new Map([[best, Number.NEGATIVE_INFINITY]]) });
    expect(forbid.sample(context, -1)).not.toBe(best);
    using force = createSampler(model, { temperature: 0, logitBias: new Map([[17, 1000]]) });
    expect(force.sample(context, -1)).toBe(17);
  });

  it("penalises repetition, prompt included", () => {
    const best = bestAfterStory();
    for (const penalty of [{ repeatPenalty: 100 }, { presencePenalty: 100 }, { frequencyPenalty: 100 }]) {
      using sampler = createSampler(model, { temperature: 0, ...penalty });
      sampler.acceptPrompt([best]);
      expect(sampler.sample(context, -1)).not.toBe(best);
      sampler.reset();
      expect(sampler.sample(context, -1)).toBe(best);
    }
    using forgetful = createSampler(model, { temperature: 0, presencePenalty: 100, repeatLastN: 2 });
    forgetful.acceptPrompt([best, 100, 101]);
    expect(forgetful.sample(context, -1)).toBe(best);
  });

  it("penalises repeated sequences", () => {
    const best = bestAfterStory();
    const sampleAfter = (prompt: readonly number[]) => {
      using sampler = createSampler(model, { temperature: 0, dry: { multiplier: 100 } });
      sampler.acceptPrompt(prompt);
      return sampler.sample(context, -1);
    };
    expect(sampleAfter([100, 101, 102, best, 100, 101, 102])).not.toBe(best);
    expect(sampleAfter([100, 101, 102, best, 100, 101, 103])).toBe(best);
  });

  it("refuses values outside their range", () => {
    expect(() => createSampler(model, { repeatPenalty: 0 })).toThrow(RangeError);
    expect(() => createSampler(model, { temperature: Number.NaN })).toThrow(/temperature/);
    expect(() => createSampler(model, { dry: { multiplier: Number.NaN } })).toThrow(/multiplier/);
  });
});

describe("a grammar", () => {
  it("constrains every text, whatever the seed", () => {
    const grammar = 'root ::= "{\\"name\\": \\"" [a-z]{3,8} "\\", \\"age\\": " [1-9] [0-9]? "}"';
    fc.assert(
      fc.property(fc.nat(), (seed) => {
        const text = write({ seed, temperature: 1.5, grammar }, 60);
        expect(JSON.parse(text)).toEqual({ name: expect.stringMatching(/^[a-z]{3,8}$/), age: expect.any(Number) });
      }),
      { numRuns: 15 },
    );
  });

  it("ends the text where it ends", () => {
    expect(write({ temperature: 0, grammar: 'root ::= " yes" | " no"' })).toMatch(/^ (yes|no)$/);
  });

  it("does not change a draw that fits anyway", () => {
    const options: SamplerOptions = { seed: 9, temperature: 0.8 };
    expect(write({ ...options, grammar: "root ::= [^\\x00]*" })).toBe(write(options));
  });

  it("refuses tokens that do not fit, and stays where it was", () => {
    using sampler = createSampler(model, { grammar: 'root ::= "ab"' });
    const token = (text: string) => vocabulary.tokenize(text)[0];
    expect(() => sampler.accept(token("b"))).toThrow(GrammarError);
    expect(() => sampler.accept(vocabulary.eos as number)).toThrow(GrammarError);
    sampler.accept(token("a"));
    using copy = sampler.clone();
    sampler.accept(token("b"));
    expect(() => sampler.accept(token("b"))).toThrow(GrammarError);
    copy.accept(token("b"));
    sampler.reset();
    sampler.accept(token("a"));
  });

  it("must parse", () => {
    for (const grammar of ["root ::= nothing", 'other ::= "a"', "", 'root ::= root "a"']) {
      expect(() => createSampler(model, { grammar })).toThrow(GrammarError);
    }
    expect(() => createSampler(model, { grammar: 'other ::= "a"' })).toThrow(/does not contain a 'root' symbol/);
  });

  it("that no allowed token can follow is an error, not a crash", () => {
    bestAfterStory();
    const grammar = 'root ::= "a"';
    const [a] = vocabulary.tokenize("a");
    using sampler = createSampler(model, { temperature: 0, grammar });
    sampler.accept(a);
    expect(vocabulary.isEndOfGeneration(sampler.sample(context, -1))).toBe(true);
    const logitBias = new Map([4092, 4095].map((end) => [end, Number.NEGATIVE_INFINITY]));
    using stuck = createSampler(model, { temperature: 0, grammar, logitBias });
    stuck.accept(a);
    expect(() => stuck.sample(context, -1)).toThrow(GrammarError);
  });
});

describe("Sampler", () => {
  it("clones its state, random numbers included", () => {
    context.clear();
    logitsAfter(context, STORY);
    using sampler = createSampler(model, { seed: 3, temperature: 2, topK: 0, topP: 1, minP: 0 });
    for (let i = 0; i < 5; i++) sampler.sample(context, -1);
    using copy = sampler.clone();
    const draw = (from: typeof sampler) => Array.from({ length: 10 }, () => from.sample(context, -1));
    const drawn = draw(sampler);
    expect(draw(copy)).toEqual(drawn);
    expect(new Set(drawn).size).toBeGreaterThan(1);
  });

  it("refuses an output without logits and a token that does not exist", () => {
    using fresh = smallContext(model);
    using sampler = createSampler(model);
    using batch = new Batch({ capacity: 2 });
    batch.add(1, 0, 0, false);
    batch.add(2, 1, 0, true);
    fresh.decode(batch);
    expect(() => sampler.sample(fresh, 0)).toThrow(RangeError);
    expect(() => sampler.accept(vocabulary.size)).toThrow(RangeError);
    expect(() => sampler.acceptPrompt([-1])).toThrow(RangeError);
  });

  it("cannot be used after dispose()", () => {
    const sampler = createSampler(model, { grammar: 'root ::= "a"' });
    sampler.dispose();
    sampler.dispose();
    expect(() => sampler.sample(context, -1)).toThrow(DisposedError);
    expect(() => sampler.accept(1)).toThrow(DisposedError);
    expect(() => sampler.reset()).toThrow(DisposedError);
    expect(() => sampler.seed).toThrow(DisposedError);
  });
});
