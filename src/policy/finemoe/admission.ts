/**
 * Whether a speculative read is worth it: what it saves if the expert is used, against what it delays if not and what the
 * expert that it pushes out would have been worth. All in reads of one expert, so no bandwidth needs to be known. On an idle
 * link nearly everything is worth reading, on a saturated one only what is as good as certain.
 */
import type { ModelShape } from "../../cache/shape.ts";
import { tokenCycleBytes } from "../../cache/shape.ts";

/** A layer in 16 moves the measured use of the link. */
const SMOOTHING = 1 / 16;
/** Of the bytes that a token uses, what may be read ahead for one. */
const SPECULATIVE_SHARE = 0.25;

export class ExpectedValueAdmission {
  admitted = 0;
  refused = 0;
  /** Times that the bytes of a token were used up. */
  exhausted = 0;
  /** Share of recent layers that had to read on demand, 0..1: how likely a read ahead delays one. */
  linkUse = 1;
  readonly #mostBytes: number;
  #bytes = 0;
  #demanded = false;

  constructor(shape: ModelShape) {
    // One expert at least, or nothing would ever be read where a token uses less than four.
    this.#mostBytes = Math.max(SPECULATIVE_SHARE * tokenCycleBytes(shape), ...shape.expertBytes);
  }

  iterationStarts(): void {
    this.#bytes = 0;
  }

  /** A layer's router has decided; what it has to read on demand is told next. */
  routed(): void {
    this.linkUse += SMOOTHING * ((this.#demanded ? 1 : 0) - this.linkUse);
    this.#demanded = false;
  }

  demanded(): void {
    this.#demanded = true;
  }

  prefetched(bytes: number): void {
    this.#bytes += bytes;
  }

  /** @param bytes of the expert */
  affordable(bytes: number): boolean {
    if (this.#bytes + bytes <= this.#mostBytes) return true;
    this.exhausted++;
    return false;
  }

  /** @param chance of use, 0..1. @param loss chance that what is pushed out is used first, 0 when there is room */
  admits(chance: number, loss: number): boolean {
    const worth = chance > (1 - chance) * this.linkUse + loss;
    if (worth) this.admitted++;
    else this.refused++;
    return worth;
  }
}
