/** What the figures of a flash run have in common: how an engine looks in all of them, and the line at their foot. */
import type { FlashBenchResult, FlashRow } from "../../flash/bench/results.ts";
import { nameOf } from "../../flash/bench/text.ts";
import { bytesText } from "../number-text.ts";
import { PALETTE } from "../palette.ts";

export { nameOf };

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

/** An engine may be there on several devices. */
export function rowName(row: FlashRow, rows: readonly FlashRow[]): string {
  const alike = rows.filter((other) => nameOf(other) === nameOf(row));
  return alike.length > 1 ? `${nameOf(row)}, ${row.device}` : nameOf(row);
}

export function shareText(share: number | null, digits = 1): string {
  return share === null ? "–" : `${(100 * share).toFixed(digits)}\u00a0%`;
}
