/**
 * What every form of delivery holds: the tuned gates and the report of those who tuned them. Types and checks; how it lies
 * in a file is said where that form is read and written.
 */
import type { RouterDelta } from "../tune/router-delta.ts";
import { AdapterError } from "./errors.ts";

/** A gate without where it came from. */
export interface GateValues {
  readonly block: number;
  /** `[experts][width]` */
  readonly weights: Float32Array;
  /** `[experts]` */
  readonly bias: Float32Array | undefined;
}

/** Figures of the tuning, as JSON has them. */
export type RouterReport = Readonly<Record<string, unknown>>;

export interface RouterArtifact {
  readonly delta: RouterDelta;
  /** Empty when nobody has measured. */
  readonly report: RouterReport;
  /**
   * Only in a reverse patch: the gates that a patch put in the place of `delta`'s, so that a half-written file can be told from
   * another model's.
   */
  readonly replaced?: readonly GateValues[];
}

/** Version of what is in the files; a reader refuses a later one. */
export const ARTIFACT_VERSION = 1;

/** @throws AdapterError `damaged` for infinite values and those that are not numbers */
export function requireFinite(path: string, block: number, values: Float32Array): void {
  for (let i = 0; i < values.length; i++)
    if (!Number.isFinite(values[i]))
      throw new AdapterError("damaged", path, `the router of block ${block} has ${values[i]} in it. Tune it again.`);
}

/** @throws AdapterError `unsupported` */
export function requireKnownVersion(path: string, version: number): void {
  if (version !== ARTIFACT_VERSION)
    throw new AdapterError("unsupported", path, `it is version ${version} of such files. A newer warmset is needed.`);
}

/** The report in a file; one that cannot be read is not worth refusing a router for. */
export function parseReport(text: string | undefined): RouterReport {
  try {
    const report: unknown = JSON.parse(text ?? "{}");
    return typeof report === "object" && report !== null && !Array.isArray(report) ? { ...report } : {};
  } catch {
    return {};
  }
}

/** Blocks ascending, each with a hash. @throws AdapterError `damaged` */
export function checkedBlocks(
  path: string,
  blocks: readonly unknown[] | undefined,
  hashes: readonly unknown[] | undefined,
): { block: number; baseSha256: string }[] {
  const layers = (blocks ?? []).map((block, i) => ({ block, baseSha256: hashes?.[i] }));
  const sound = layers.every(
    ({ block, baseSha256 }, i) =>
      Number.isInteger(block) &&
      Number(block) > (i === 0 ? -1 : Number(layers[i - 1].block)) &&
      typeof baseSha256 === "string" &&
      /^[0-9a-f]{64}$/.test(baseSha256),
  );
  if (!sound || layers.length === 0 || hashes?.length !== layers.length)
    throw new AdapterError(
      "damaged",
      path,
      "its list of blocks and of the hashes of their gates makes no sense. Copy or download the file again.",
    );
  return layers as { block: number; baseSha256: string }[];
}
