/** What the figures of a flash run have in common: how an engine looks in all of them, and the line at their foot. */
import type { FlashBenchResult, FlashRow } from "../../flash/bench/results.ts";
import { bytesText } from "../number-text.ts";
import { PALETTE } from "../palette.ts";

/** Ours stands out; the designs it is compared with have a colour each. */
export function colourOf({ engine }: Pick<FlashRow, "engine">): string {
  switch (engine) {
    case "nemo":
      return PALETTE.subject.light;
    case "set":
      return PALETTE.second.light;
    case "log":
      return PALETTE.third.light;
    case "fairywren":
      return PALETTE.picked.light;
    case "kangaroo":
      return PALETTE.muted.light;
    default:
      return engine satisfies never;
  }
}

export function sourceLine({ configuration: c }: FlashBenchResult): string {
  return `${c.workload}; cache ${bytesText(c.cacheBytes)}, zones ${bytesText(c.zoneBytes)}, RAM in front ${bytesText(c.ramBytes)}; seed ${c.seed}`;
}
