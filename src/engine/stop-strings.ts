/**
 * Finds stop strings in text that arrives in pieces, and holds back what may be the beginning of one until it is
 * certain. Text only; tokens and limits are elsewhere.
 */
export class StopStrings {
  readonly #stops: readonly string[];
  #held = "";
  found = false;

  constructor(stops: readonly string[]) {
    this.#stops = stops.filter((stop) => stop !== "");
  }

  /** Adds text; returns what is certain to come before any stop string. */
  push(piece: string): string {
    if (this.found) return "";
    const text = this.#held + piece;
    const at = this.#stops.map((stop) => text.indexOf(stop)).filter((index) => index >= 0);
    if (at.length > 0) {
      this.found = true;
      this.#held = "";
      return text.slice(0, Math.min(...at));
    }
    const held = Math.max(0, ...this.#stops.map((stop) => overlap(text, stop)));
    this.#held = text.slice(text.length - held);
    return text.slice(0, text.length - held);
  }

  /** The text ends here: what was held back was no stop string. */
  flush(): string {
    const rest = this.#held;
    this.#held = "";
    return rest;
  }
}

/** Longest end of `text` that is a beginning of `stop`, and not all of it. */
function overlap(text: string, stop: string): number {
  for (let length = Math.min(text.length, stop.length - 1); length > 0; length--)
    if (stop.startsWith(text.slice(text.length - length))) return length;
  return 0;
}
