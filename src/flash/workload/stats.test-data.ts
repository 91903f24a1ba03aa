/** What a stream of events is like, counted: the figures that workloads are compared by. Not what a cache makes of them. */
import { fitAlpha } from "./alpha-fit.test-data.ts";
import { createEventBatch, DELETE, type EventSource, GET, SET } from "./event-batch.ts";
import { KeyCounts } from "./key-counts.test-data.ts";

export interface WorkloadFigures {
  readonly name: string;
  /** Events counted: fewer than asked for when the source has no more. */
  readonly events: number;
  /** Shares of the events. */
  readonly gets: number;
  readonly sets: number;
  readonly deletes: number;
  readonly keys: number;
  /** Means over the events: popular keys count as often as they come. 0 without events. */
  readonly meanKeyBytes: number;
  readonly meanValueBytes: number;
  /** Key + value, each key once. */
  readonly meanObjectBytes: number;
  /** Key + value of all keys that came. */
  readonly workingSetBytes: number;
  /** Exponent of Zipf's law; undefined when too few keys came often. */
  readonly alpha: number | undefined;
  /** Keys that came once, as a share of the events, and of the keys (what Twitter's statistics print). */
  readonly oneHitEvents: number;
  readonly oneHitKeys: number;
}

export interface DescribeOptions {
  /** Counted at most. Memory grows by 16 to 32 bytes for each key among them. @default 10 million */
  readonly events?: number;
  readonly signal?: AbortSignal;
}

/** Takes the events from the source. @throws the signal's reason, and what the source throws */
export async function describeWorkload(source: EventSource, options: DescribeOptions = {}): Promise<WorkloadFigures> {
  const { events: wanted = 10e6, signal } = options;
  const whole = createEventBatch(8192);
  const byKey = new KeyCounts();
  const byOperation = [0, 0, 0];
  let events = 0;
  let keyBytes = 0;
  let objectBytes = 0;
  while (events < wanted) {
    signal?.throwIfAborted();
    const left = wanted - events;
    const batch = left < whole.capacity ? createEventBatch(left) : whole;
    const count = await source.next(batch);
    if (count === 0) break;
    for (let i = 0; i < count; i++) {
      byKey.add(batch.idLow[i], batch.idHigh[i], batch.objectBytes[i]);
      byOperation[batch.operation[i]]++;
      keyBytes += batch.keyBytes[i];
      objectBytes += batch.objectBytes[i];
    }
    events += count;
  }
  const counts = byKey.counts();
  const workingSetBytes = byKey.totalBytes();
  const once = counts.reduce((sum, count) => sum + (count === 1 ? 1 : 0), 0);
  const of = (part: number, all: number) => (all === 0 ? 0 : part / all);
  return {
    name: source.name,
    events,
    gets: of(byOperation[GET], events),
    sets: of(byOperation[SET], events),
    deletes: of(byOperation[DELETE], events),
    keys: byKey.keys,
    meanKeyBytes: of(keyBytes, events),
    meanValueBytes: of(objectBytes - keyBytes, events),
    meanObjectBytes: of(workingSetBytes, byKey.keys),
    workingSetBytes,
    alpha: fitAlpha(counts),
    oneHitEvents: of(once, events),
    oneHitKeys: of(once, byKey.keys),
  };
}
