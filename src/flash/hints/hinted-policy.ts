/**
 * Hints added to any policy: what a prompt's blocks used when they came the last time. Hinted experts are read ahead in the order of
 * the layers and kept for the length of their block; everything else stays the base's decision. What is used in each block is handed
 * to the store. A wrong hint costs speed and never output; without a store it is the base and nothing else.
 */
import type {
  EvictionReason,
  IterationStart,
  LinkState,
  LoadKind,
  Policy,
  PolicyNeeds,
  Residents,
  RouterEvent,
} from "../../cache/policy.ts";
import { type ExpertKey, type ModelShape, NO_EXPERT } from "../../cache/shape.ts";
import { Shielded } from "../../policy/shielded.ts";
import { BlockChain } from "./block-chain.ts";
import { BlockUses } from "./block-uses.ts";
import { HintFeed } from "./hint-feed.ts";
import type { HintLink } from "./hint-link.ts";
import { BLOCK_TOKENS, HINT_BITS, type HintBits, SegmentCodec } from "./segment-hint.ts";

export interface HintedPolicyOptions {
  readonly link: HintLink;
  /** Model, quantisation, routers and tokenizer: what hints are good for. */
  readonly salt: string;
  /** @default BLOCK_TOKENS */
  readonly blockTokens?: number;
  /** Of an expert in a hint. @default HINT_BITS */
  readonly bits?: HintBits;
  /** Hand what was used to the store. @default true */
  readonly record?: boolean;
}

/**
 * What a prompt waits for its hints at most. The median of a look-up beside a drive that streams is 0.07 ms with 10,000 hints, 0.6 ms
 * with a million (`bench/results/hint-stores.json`).
 */
const WAIT_MS = 5;
/** Uses per token left in the block from which on an absent expert is read ahead for a decoded token. */
const LEAST_RATE = 0.6;

/** Claims on memory, see `#claim`: of later uses at most, and of anything. */
const MOST_LATER = 255;
const ALL_HINTED = Number.POSITIVE_INFINITY;

export class HintedPolicy implements Policy {
  readonly name: string;
  readonly needs: PolicyNeeds;
  readonly pausesForDemand: boolean;
  readonly prefetchesAtStart = true;
  readonly #base: Policy;
  readonly #options: HintedPolicyOptions;
  readonly #chain: BlockChain;
  /** What is in memory without those that the hints keep. */
  readonly #others = new Shielded((key) => (this.#left[key] as number) > 0);
  #shape!: ModelShape;
  #codec!: SegmentCodec;
  #feed!: HintFeed;
  #uses!: BlockUses;
  /**
   * By key: uses to come that the hints tell of. Of layers that the running pass has not come to, in that pass; of the others, in
   * the block in which the next token lies.
   */
  #left!: Uint8Array;
  /** There are hints for what comes; without, nothing is looked for at a stop. */
  #hinted = false;
  /** The hint that `#left` is made of. */
  #current: Uint8Array | undefined;
  /** By key: 1 for one that was read for a hint, until its layer runs. */
  #readAhead!: Uint8Array;
  /** What stands before the running pass is known. */
  #following = false;
  #tokens = 0;
  /** The block in which the token after the pass lies, and how many of its tokens come after the pass. */
  #tail = 0;
  #tailTokens = 0;
  /** Layer whose router ran last, -1 before the first. */
  #layer = -1;
  /** Keys looked at since then, of all, from the next layer on. */
  #lookedAt = 0;
  /** The expert that the hints handed out last, until it is read. */
  #handedOut = NO_EXPERT;
  readonly #counts = { hintReads: 0, hintReadsUsed: 0, hintedVictims: 0 };

  constructor(base: Policy, options: HintedPolicyOptions) {
    this.name = `${base.name}+hints`;
    this.needs = base.needs;
    this.pausesForDemand = base.pausesForDemand ?? false;
    this.#base = base;
    this.#options = options;
    this.#chain = new BlockChain(options.salt, options.blockTokens ?? BLOCK_TOKENS);
    // Bound only when the base has them, so that nobody asks in vain.
    if (base.discard !== undefined)
      this.discard = (residents) => base.discard?.(this.#others.of(residents)) ?? NO_EXPERT;
    if (base.learned !== undefined) this.learned = () => base.learned?.() ?? new Uint8Array();
  }

  discard?(candidates: Residents): ExpertKey;
  learned?(): Uint8Array;

  begin(shape: ModelShape, budgetExperts: number): void {
    const total = shape.layers * shape.experts;
    this.#shape = shape;
    this.#codec = new SegmentCodec(shape, this.#options.bits ?? HINT_BITS);
    this.#feed = new HintFeed(this.#options.link, this.#chain, this.#codec, total);
    this.#uses = new BlockUses(this.#chain.blockTokens, shape.layers, shape.experts);
    this.#left = new Uint8Array(total);
    this.#readAhead = new Uint8Array(total);
    this.#base.begin(shape, budgetExperts);
  }

  iteration(start: IterationStart): void {
    this.#record();
    this.#base.iteration(start);
    this.#layer = -1;
    this.#lookedAt = 0;
    const { position, tokens } = start;
    const waitMs = tokens > 1 ? WAIT_MS : 0;
    this.#following =
      position !== undefined && this.#feed.advance(position, start.tokenIds.subarray(0, tokens), waitMs);
    if (position === undefined || !this.#following) {
      this.#uses.forget();
      this.#expect(undefined);
      return;
    }
    this.#uses.pass(position, tokens);
    const size = this.#chain.blockTokens;
    const first = Math.floor(position / size);
    this.#tokens = tokens;
    this.#tail = Math.floor((position + tokens) / size);
    this.#tailTokens = (this.#tail + 1) * size - position - tokens;
    if (tokens > 1) this.#expectPass(first, Math.floor((position + tokens - 1) / size));
    else if (this.#feed.hintOf(first) !== this.#current) this.#expect(this.#feed.hintOf(first), this.#uses.of(first));
  }

  routed(event: RouterEvent): void {
    this.#base.routed(event);
    const { layer, distinct, distinctCount } = event;
    this.#layer = layer;
    this.#lookedAt = 0;
    for (let i = 0; i < distinctCount; i++)
      this.#counts.hintReadsUsed += this.#readAhead[distinct[i] as number] as number;
    const first = layer * this.#shape.experts;
    this.#readAhead.fill(0, first, first + this.#shape.experts);
    if (!this.#following) return;
    this.#uses.routed(event);
    if (!this.#hinted) return;
    if (this.#tokens > 1) this.#expectTail(first);
    else if (this.#codec.bits > 1)
      for (let i = 0; i < distinctCount; i++) {
        const key = distinct[i] as number;
        if ((this.#left[key] as number) > 0) this.#left[key]--;
      }
  }

  prefetch(link: LinkState): ExpertKey {
    const hinted = this.#nextHinted(link);
    if (hinted !== NO_EXPERT) return hinted;
    return this.#layer >= 0 || this.#base.prefetchesAtStart === true ? this.#base.prefetch(link) : NO_EXPERT;
  }

  loading(key: ExpertKey, kind: LoadKind): void {
    const own = kind === "prefetch" && key === this.#handedOut;
    if (own) {
      this.#counts.hintReads++;
      this.#readAhead[key] = 1;
      this.#handedOut = NO_EXPERT;
    }
    // The base has not chosen it: to the base it is like one that was needed.
    this.#base.loading?.(key, own ? "demand" : kind);
  }

  loaded(key: ExpertKey, complete: boolean): void {
    this.#base.loaded?.(key, complete);
  }

  victim(candidates: Residents, reason: EvictionReason, incoming: ExpertKey): ExpertKey {
    const own = reason === "prefetch" && incoming === this.#handedOut;
    const victim = this.#base.victim(this.#others.of(candidates), own ? "demand" : reason, incoming);
    if (victim !== NO_EXPERT || (reason === "prefetch" && !own)) return victim;
    const least = this.#leastHinted(candidates, own ? this.#mostFor(incoming) : ALL_HINTED);
    if (least !== NO_EXPERT) this.#counts.hintedVictims++;
    return least;
  }

  figures(): Readonly<Record<string, number>> {
    const { found, unknown } = this.#feed;
    const hints = { ...this.#counts, blocksHinted: found, blocksUnknown: unknown };
    return { ...this.#base.figures?.(), ...hints, ...this.#options.link.figures() };
  }

  end(): void {
    this.#record();
    this.#base.end();
  }

  #record(): void {
    this.#uses.settle((block, uses) => {
      if (this.#options.record !== false) this.#options.link.record(this.#chain.key(block), this.#codec.encode(uses));
    });
  }

  /** What is left of a hint. @param used of it already */
  #expect(hint: Uint8Array | undefined, used?: Uint8Array): void {
    this.#current = hint;
    this.#hinted = hint !== undefined;
    if (hint === undefined) {
      this.#left.fill(0);
      return;
    }
    this.#left.set(hint);
    if (used === undefined || this.#codec.bits === 1) return;
    for (let key = 0; key < used.length; key++)
      this.#left[key] = Math.max(0, (hint[key] as number) - (used[key] as number));
  }

  /** Each layer runs once for all tokens of these blocks. */
  #expectPass(first: number, last: number): void {
    this.#expect(undefined);
    for (let block = first; block <= last; block++) {
      const hint = this.#feed.hintOf(block);
      if (hint === undefined) continue;
      this.#hinted = true;
      for (let key = 0; key < hint.length; key++)
        this.#left[key] = Math.min(255, (this.#left[key] as number) + (hint[key] as number));
    }
    this.#current = this.#feed.hintOf(this.#tail);
    this.#hinted ||= this.#current !== undefined;
  }

  /** A layer has run: of its experts those stay that the tokens after the pass will use. */
  #expectTail(first: number): void {
    const hint = this.#current;
    const used = this.#codec.bits === 1 ? undefined : this.#uses.of(this.#tail);
    for (let key = first; key < first + this.#shape.experts; key++)
      this.#left[key] = Math.max(0, (hint?.[key] ?? 0) - (used?.[key] ?? 0));
  }

  /** The next absent expert that the hints tell of, from the next layer on and around. */
  #nextHinted({ residents, spareBytes }: LinkState): ExpertKey {
    if (!this.#hinted) return NO_EXPERT;
    const { experts, expertBytes } = this.#shape;
    const total = this.#left.length;
    const start = (this.#layer + 1) * experts;
    const leastUses = LEAST_RATE * this.#tailTokens;
    for (; this.#lookedAt < total; this.#lookedAt++) {
      const key = ((start + this.#lookedAt) % total) as ExpertKey;
      const left = this.#left[key] as number;
      if (left === 0 || (left < leastUses && !this.#inPass(key)) || residents.has(key)) continue;
      const bytes = expertBytes[Math.floor(key / experts)] as number;
      if (bytes > spareBytes || !this.#hasRoom(residents, bytes, key)) return NO_EXPERT;
      this.#lookedAt++;
      this.#handedOut = key;
      return key;
    }
    return NO_EXPERT;
  }

  /** Who hands out an expert that finds no room is not asked again at this stop, and the base would not be either. */
  #hasRoom(residents: Residents, bytes: number, incoming: ExpertKey): boolean {
    if (residents.usedBytes + bytes <= residents.budgetBytes) return true;
    const most = this.#mostFor(incoming);
    for (let i = 0; i < residents.count; i++) {
      const key = residents.at(i);
      if (this.#claim(key) <= most && residents.evictable(key)) return true;
    }
    return false;
  }

  /** Largest claim of an expert that is given up to read this one ahead. */
  #mostFor(incoming: ExpertKey): number {
    // What the running pass needs comes before what the tokens after it may need.
    if (this.#inPass(incoming)) return MOST_LATER;
    return Math.floor((this.#left[incoming] as number) / 2);
  }

  /** How much is lost with it: nothing, later uses, or uses in the running pass, of which those in near layers weigh most. */
  #claim(key: ExpertKey): number {
    const left = this.#left[key] as number;
    if (left === 0 || !this.#inPass(key)) return left;
    const { layers, experts } = this.#shape;
    return MOST_LATER + layers - Math.floor(key / experts) + left / 256;
  }

  /** Its layer comes in the running pass of several tokens, of which the hints tell as a whole. */
  #inPass(key: ExpertKey): boolean {
    return this.#tokens > 1 && key >= (this.#layer + 1) * this.#shape.experts;
  }

  /** The expert with the smallest claim that may be evicted, if that is `most` or less. */
  #leastHinted(candidates: Residents, most: number): ExpertKey {
    let least = NO_EXPERT;
    let smallest = most;
    for (let i = 0; i < candidates.count; i++) {
      const key = candidates.at(i);
      if (!candidates.evictable(key)) continue;
      const claim = this.#claim(key);
      if (claim > smallest || (claim === smallest && least !== NO_EXPERT)) continue;
      smallest = claim;
      least = key;
    }
    return least;
  }
}
