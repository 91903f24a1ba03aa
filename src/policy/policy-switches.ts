/**
 * The switches in a policy's name, `finemoe:threshold=coverage,distance=3`: read one by one, each checked where it is read,
 * and none left over. The published systems have variants that change results, so every variant must have a name that a
 * command line, a trace and a table of results can carry.
 */

/** A switch that the policy does not have, or a value that it cannot take. */
export class PolicySwitchError extends Error {
  override readonly name = "PolicySwitchError";
  readonly policy: string;

  constructor(policy: string, problem: string) {
    super(`policy "${policy}": ${problem}`);
    this.policy = policy;
  }
}

/** Names between commas, where a switch after a comma belongs to the name before: `lru,finemoe:distance=3,queue=8` are two. */
export function splitPolicyNames(text: string): readonly string[] {
  const names: string[] = [];
  for (const part of text.split(",")) {
    const last = names.length - 1;
    if (last >= 0 && /^[^:+]+=/.test(part)) names[last] += `,${part}`;
    else names.push(part);
  }
  return names;
}

export class PolicySwitches {
  readonly #policy: string;
  readonly #values = new Map<string, string>();
  readonly #asked: string[] = [];

  /** @param text what follows the colon, such as `threshold=coverage,distance=3`; may be empty */
  constructor(policy: string, text: string) {
    this.#policy = policy;
    for (const part of text === "" ? [] : text.split(",")) {
      const at = part.indexOf("=");
      if (at <= 0) throw new PolicySwitchError(policy, `"${part}" is not of the form switch=value`);
      this.#values.set(part.slice(0, at), part.slice(at + 1));
    }
  }

  /** One of the words; undefined when not given. */
  word<T extends string>(name: string, words: readonly T[]): T | undefined {
    const value = this.#take(name);
    if (value === undefined) return undefined;
    const word = words.find((known) => known === value);
    if (word === undefined) throw this.#wrong(name, value, `one of ${words.join(", ")}`);
    return word;
  }

  /** A number between the bounds, inclusive; undefined when not given. */
  number(name: string, lowest: number, highest: number): number | undefined {
    const value = this.#take(name);
    if (value === undefined) return undefined;
    const number = value === "" ? Number.NaN : Number(value);
    if (!(number >= lowest && number <= highest))
      throw this.#wrong(name, value, `a number from ${lowest} to ${highest}`);
    return number;
  }

  integer(name: string, lowest: number, highest: number): number | undefined {
    const number = this.number(name, lowest, highest);
    if (number !== undefined && !Number.isInteger(number)) throw this.#wrong(name, String(number), "a whole number");
    return number;
  }

  /** on or off; undefined when not given. */
  flag(name: string): boolean | undefined {
    const word = this.word(name, ["on", "off"]);
    return word === undefined ? undefined : word === "on";
  }

  /** Every switch given must have been read. */
  finish(): void {
    for (const name of this.#values.keys())
      if (!this.#asked.includes(name))
        throw new PolicySwitchError(
          this.#policy,
          this.#asked.length === 0 ? `it has no switches` : `no switch "${name}"; it has ${this.#asked.join(", ")}`,
        );
  }

  #take(name: string): string | undefined {
    this.#asked.push(name);
    return this.#values.get(name);
  }

  #wrong(name: string, value: string, wanted: string): PolicySwitchError {
    return new PolicySwitchError(this.#policy, `${name}=${value}: it must be ${wanted}`);
  }
}
