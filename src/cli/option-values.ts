/**
 * How the value of an option is read: numbers in a range, lists, pairs. What is wrong with it is said here; commander puts the
 * option's name in front.
 */
import { InvalidArgumentError } from "commander";
import { REQUEST_LENGTHS, type RequestLengths } from "../workload/request-lengths.ts";

export const LENGTH_NAMES = Object.keys(REQUEST_LENGTHS).join(", ");

export function wholeNumber(smallest: number, largest = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() === "" || !Number.isSafeInteger(value) || value < smallest || value > largest)
      throw new InvalidArgumentError(`It must be a whole number ${range(smallest, largest)}.`);
    return value;
  };
}

export function decimal(smallest: number, largest = Number.MAX_VALUE): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() === "" || !(value >= smallest && value <= largest))
      throw new InvalidArgumentError(`It must be a number ${range(smallest, largest)}.`);
    return value;
  };
}

function range(smallest: number, largest: number): string {
  return largest >= Number.MAX_SAFE_INTEGER ? `from ${smallest} on` : `from ${smallest} to ${largest}`;
}

/** `prose=2,python=1`. */
export function weights(text: string): Readonly<Record<string, number>> {
  const pairs = text.split(",").map((part) => {
    const [, label, weight] = /^(.+)=(.+)$/.exec(part.trim()) ?? [];
    return [label, Number(weight)] as const;
  });
  if (pairs.some(([label, weight]) => label === undefined || !(weight >= 0)))
    throw new InvalidArgumentError("It must be labels with weights, such as prose=2,python=1.");
  return Object.fromEntries(pairs);
}

export function requestLengths(text: string): RequestLengths {
  const [, promptTokens, outputTokens] = (/^([1-9]\d{0,6})\/([1-9]\d{0,6})$/.exec(text) ?? []).map(Number);
  if (promptTokens !== undefined) return { promptTokens, outputTokens };
  if (Object.hasOwn(REQUEST_LENGTHS, text)) return REQUEST_LENGTHS[text as keyof typeof REQUEST_LENGTHS];
  throw new InvalidArgumentError(`It must be ${LENGTH_NAMES}, or two numbers such as 37/127.`);
}

export function numbers(text: string): readonly number[] {
  const values = text.split(",").map((part) => (part.trim() === "" ? Number.NaN : Number(part)));
  if (values.some((value) => !Number.isFinite(value)))
    throw new InvalidArgumentError("It must be numbers separated by commas.");
  return values;
}

/** Of an option that may be given several times, or has several values. */
export function collect(text: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), text];
}
