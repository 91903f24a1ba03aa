/** From the runs of an ablation to its rows and its table. Pure. Other programs read the rows: names of fields stay. */
import { type Ablation, DEFAULT_ENGINE } from "./ablation-plan.ts";
import { textTable } from "./bench-program.ts";
import type { ContenderRun, StepFigures } from "./contender-protocol.ts";
import type { MeasuredRun } from "./measured-run.ts";
import { agreement, failuresOf, finishedRuns, hitRate, medianOrNull } from "./report.ts";
import type { BenchConfiguration } from "./results.ts";

export interface AblationRow extends Ablation {
  /** Runs that ended with figures, of how many. The figures below are medians over them, null when there is none. */
  readonly runs: number;
  readonly attempts: number;
  /** How the other runs ended. */
  readonly failures: readonly string[];
  readonly tokensPerSecond: number | null;
  /** tok/s over the default engine's. */
  readonly overDefault: number | null;
  /** Time inside llama.cpp's decode per token, and where it went. */
  readonly msPerToken: {
    readonly wall: number | null;
    readonly compute: number | null;
    readonly stall: number | null;
    readonly management: number | null;
    readonly prediction: number | null;
  };
  /** Read from storage. */
  readonly bytesPerToken: number | null;
  readonly hitRate: number | null;
  readonly graphStopsPerToken: number | null;
  /** Share of next-token predictions equal to the default engine's: anything but 1 is a mistake. */
  readonly agreement: number | null;
  /** The device's speed right before and after the row's own runs. */
  readonly deviceBytesPerSecond: number | null;
}

export interface AblationResult {
  readonly kind: "ablation";
  /** ISO 8601. */
  readonly date: string;
  /** False while runs are missing: the bench still runs, or was interrupted. */
  readonly complete: boolean;
  readonly elapsedMs: number;
  readonly configuration: Omit<BenchConfiguration, "nodeFlags">;
  readonly memoryBytes: number;
  readonly memoryFraction: number;
  readonly rows: readonly AblationRow[];
  readonly notes: readonly string[];
}

export function ablationRows(measured: ReadonlyMap<Ablation, readonly MeasuredRun[]>): AblationRow[] {
  const reference = finishedRuns(measured.get(DEFAULT_ENGINE) ?? []).map(({ run }) => run);
  const defaultSpeed = medianOrNull(reference.map((run) => run.tokensPerSecond));
  return [...measured].map(([ablation, measuredRuns]) => {
    const runs = finishedRuns(measuredRuns).map(({ run }) => run);
    const over = (figure: (run: ContenderRun) => number | undefined) =>
      medianOrNull(runs.map(figure).filter((value) => value !== undefined));
    const perToken = (name: keyof StepFigures) => over((run) => run.steps && run.steps[name] / run.tokens);
    const tokensPerSecond = over((run) => run.tokensPerSecond);
    const probes = measuredRuns.flatMap((run) => run.probes);
    return {
      ...ablation,
      runs: runs.length,
      attempts: measuredRuns.length,
      failures: failuresOf(measuredRuns),
      tokensPerSecond,
      overDefault: tokensPerSecond === null || !defaultSpeed ? null : tokensPerSecond / defaultSpeed,
      msPerToken: {
        wall: perToken("wallMs"),
        compute: perToken("computeMs"),
        stall: perToken("stallMs"),
        management: perToken("managementMs"),
        prediction: perToken("predictionMs"),
      },
      bytesPerToken: over((run) => run.bytesRead / run.tokens),
      hitRate: over((run) => run.experts && hitRate(run.experts)),
      graphStopsPerToken: perToken("graphStops"),
      agreement: agreement(runs[0], reference[0]),
      deviceBytesPerSecond: medianOrNull(probes.map(({ slices }) => slices.bytesPerSecond)),
    };
  });
}

export function ablationTable(rows: readonly AblationRow[]): string {
  const number = (value: number | null, digits: number, unit = 1) =>
    value === null ? "-" : (value / unit).toFixed(digits);
  const head = [
    "per token",
    "tok/s",
    "of default",
    "ms",
    "compute",
    "stall",
    "manage",
    "predict",
    "MB",
    "hit rate",
    "stops",
    "device GB/s",
  ];
  const body = rows.map((row) => [
    row.name,
    number(row.tokensPerSecond, 2),
    number(row.overDefault, 2),
    number(row.msPerToken.wall, 1),
    number(row.msPerToken.compute, 1),
    number(row.msPerToken.stall, 1),
    number(row.msPerToken.management, 2),
    number(row.msPerToken.prediction, 2),
    number(row.bytesPerToken, 0, 1e6),
    number(row.hitRate, 3),
    number(row.graphStopsPerToken, 1),
    number(row.deviceBytesPerSecond, 2, 1e9),
  ]);
  const failures = rows.flatMap(({ name, failures: list }) => list.map((reason) => `${name}: ${reason}`));
  return [textTable(head, body), ...failures].join("\n");
}
