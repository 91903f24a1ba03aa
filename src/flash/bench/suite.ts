/**
 * The flash bench: every engine on the same stream to its steady state, then ablations, then speed on a real file. What each step
 * is, is decided elsewhere (`subjects.ts`, `ablations.ts`, `speed.ts`); here they are run one after another and put together.
 */
import path from "node:path";
import { describeMachine, warmsetVersion } from "../../bench/machine.ts";
import { FlashCache } from "../cache/flash-cache.ts";
import { usualZoneBytes } from "../cache/open-flash-cache.ts";
import type { EngineName } from "../engine.ts";
import type { EventSource } from "../workload/event-batch.ts";
import type { WorkloadName } from "../workload/presets.ts";
import { TraceFile, type TraceFileOptions, type TraceFormat } from "../workload/trace/trace-file.ts";
import { planAblations } from "./ablations.ts";
import { nameOf } from "./columns.ts";
import { type ReplayProgress, replay } from "./replay.ts";
import type { FlashAblation, FlashBenchResult, FlashRow, SpeedRow } from "./results.ts";
import { flashRow } from "./row.ts";
import { measureSpeed } from "./speed.ts";
import { namedStream } from "./streams.ts";
import { openSubject, type Subject, subjectsOf } from "./subjects.ts";
import { judgeFlash } from "./targets.ts";

export interface FlashSuiteOptions {
  readonly engines: readonly EngineName[];
  /** Of the device. */
  readonly cacheBytes: number;
  /** @default see `usualZoneBytes` */
  readonly zoneBytes?: number;
  /** In front of the engine. */
  readonly ramBytes: number;
  readonly workload: WorkloadName;
  /** A published trace that the engines are asked instead; ablations are not. */
  readonly trace?: { readonly file: string; readonly format: TraceFormat } & TraceFileOptions;
  readonly seed: number;
  readonly mostTurns: number;
  /** Of `ABLATION_NAMES`. */
  readonly ablations: readonly string[];
  /** Of the device in ablations; RAM and zones shrink with it. */
  readonly ablationBytes: number;
  /** A file to make, run on and remove, instead of simulated flash. */
  readonly file?: string;
  /** With `file`: also the speed bench. */
  readonly speed: boolean;
  readonly command: string;
  readonly signal?: AbortSignal;
  readonly onProgress?: (what: string, progress: ReplayProgress) => void;
  readonly onMessage?: (message: string) => void;
  /** After each row: the result so far. */
  readonly onResult?: (result: FlashBenchResult) => void;
}

const REAL_IN_FLIGHT = 16;

/** @throws FlashError, the signal's reason */
export async function runFlashSuite(options: FlashSuiteOptions): Promise<FlashBenchResult> {
  const { engines, cacheBytes, workload, trace, seed, file, signal, onMessage } = options;
  const startedAt = performance.now();
  const zoneBytes = options.zoneBytes ?? usualZoneBytes(cacheBytes);
  const rows: FlashRow[] = [];
  const ablations: FlashAblation[] = [];
  let speed: readonly SpeedRow[] = [];
  const notes: string[] = [];
  const result = (complete: boolean): FlashBenchResult => ({
    kind: "flash",
    configuration: {
      ...{ command: options.command, warmset: warmsetVersion(), machine: describeMachine() },
      workload: trace === undefined ? workload : `trace ${path.basename(trace.file)}`,
      ...{ cacheBytes, zoneBytes, ramBytes: options.ramBytes, seed, mostTurns: options.mostTurns },
    },
    date: new Date().toISOString(),
    elapsedMs: performance.now() - startedAt,
    ...{ rows, ablations, speed, targets: judgeFlash(rows, ablations, speed), notes, complete },
  });
  const note = (text: string) => {
    if (!notes.includes(text)) notes.push(text);
  };
  const told = (row: FlashRow) => {
    onMessage?.(
      `${nameOf(row)} on ${row.device}: ALWA ${row.alwa.toFixed(2)} after ${row.turns.toFixed(1)} turns${row.steady ? "" : ", not steady"}`,
    );
    options.onResult?.(result(false));
  };

  for (const subject of engines.flatMap((engine) => subjectsOf(engine, file !== undefined))) {
    await using traced = trace && new TraceFile(trace.file, trace.format, { ...trace, ...(signal && { signal }) });
    const stream = traced ?? namedStream(workload, { cacheBytes, seed });
    rows.push(await runSubject({ ...options, subject, stream, zoneBytes, note }));
    if (traced && traced.badRows > 0)
      note(`${traced.badRows} wrong rows of ${path.basename(traced.name)} were left out.`);
    told(rows[rows.length - 1]);
  }

  const { ablationBytes } = options;
  const ablationZoneBytes = usualZoneBytes(ablationBytes);
  const ramBytes = Math.floor((options.ramBytes * ablationBytes) / cacheBytes);
  const scale = { cacheBytes: ablationBytes, zoneBytes: ablationZoneBytes, workload, seed };
  for (const { id, title, setting, cases } of planAblations(options.ablations, scale)) {
    const done: FlashAblation["rows"][number][] = [];
    ablations.push({ id, title, setting: `${setting}; ${ablationBytes / 2 ** 20} MiB`, rows: done });
    for (const one of cases) {
      const { file: _, ...simulated } = options;
      const row = await runSubject({
        ...simulated,
        ...{ cacheBytes: ablationBytes, ramBytes, note, subject: one.subject },
        zoneBytes: one.zoneBytes ?? ablationZoneBytes,
        ...(one.fdpHandles === undefined ? {} : { fdpHandles: one.fdpHandles }),
        stream: one.stream?.() ?? namedStream(workload, scale),
        mostTurns: Math.min(one.mostTurns ?? options.mostTurns, options.mostTurns),
      });
      done.push({
        ...{ label: one.label, at: one.at, row },
        ...(one.knownFill === undefined ? {} : { knownFill: one.knownFill }),
      });
      told(row);
    }
  }

  if (options.speed && file !== undefined)
    speed = await measureSpeed({
      ...{ file, cacheBytes, zoneBytes, seed },
      ...(signal && { signal }),
      ...(onMessage && { onMessage }),
    });
  const done = result(true);
  options.onResult?.(done);
  return done;
}

interface SubjectRun
  extends Pick<FlashSuiteOptions, "cacheBytes" | "ramBytes" | "mostTurns" | "file" | "signal" | "onProgress"> {
  readonly subject: Subject;
  readonly stream: EventSource;
  readonly zoneBytes: number;
  readonly fdpHandles?: number;
  readonly note: (text: string) => void;
}

async function runSubject(run: SubjectRun): Promise<FlashRow> {
  const { subject, stream, cacheBytes, zoneBytes, fdpHandles, ramBytes, mostTurns, file, signal, onProgress } = run;
  const place = { cacheBytes, zoneBytes, ...(fdpHandles && { fdpHandles }), ...(file === undefined ? {} : { file }) };
  const opened = await openSubject(subject, place);
  try {
    for (const text of opened.notes) run.note(text);
    await using cache = new FlashCache(opened.engine, { ramBytes });
    const replayed = await replay({
      ...{ cache, counters: opened.counters, source: stream, cacheBytes, mostTurns },
      ...(file === undefined ? {} : { inFlight: REAL_IN_FLIGHT, timed: true }),
      ...(signal && { signal }),
      onProgress: (progress) => onProgress?.(nameOf(subject), progress),
    });
    return flashRow({ ...subject, device: opened.device, details: opened.details() }, replayed, cache.stats());
  } finally {
    opened.remove();
  }
}
