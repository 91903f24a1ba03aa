/**
 * Layers that a sweep has tuned, in one safetensors file that is replaced whole after each: what an interrupted run goes on from,
 * and whole matrices that can be used as they are. It knows by a fingerprint what it belongs to.
 */
import { existsSync } from "node:fs";
import { type BaseModel, writeRouterSafetensors } from "../../adapter/index.ts";
import { readRouterSafetensors } from "../../adapter/router-safetensors.ts";
import { TuneError } from "../errors.ts";
import type { RouterDelta, TunedGate } from "../router-delta.ts";
import type { TunedLayerFigures } from "./tuning-job.ts";

/** A layer as a sweep leaves it. */
export interface SweptLayer {
  /** Undefined: it stays as it is. */
  readonly gate: TunedGate | undefined;
  readonly figures: TunedLayerFigures;
}

export class SweepCheckpoint {
  readonly #path: string;
  readonly #fingerprint: string;
  readonly #shape: Omit<RouterDelta, "layers">;
  readonly #layers = new Map<number, SweptLayer>();
  /** Files are written one after the other. */
  #writing: Promise<void> = Promise.resolve();

  constructor(path: string, fingerprint: string, shape: Omit<RouterDelta, "layers">) {
    this.#path = path;
    this.#fingerprint = fingerprint;
    this.#shape = shape;
  }

  /** By block, what an earlier run has left. @throws TuneError `bad-checkpoint`, AdapterError */
  resume(base: BaseModel): ReadonlyMap<number, SweptLayer> {
    if (!existsSync(this.#path)) return this.#layers;
    const { delta, report } = readRouterSafetensors(this.#path, base);
    if (report.fingerprint !== this.#fingerprint)
      throw new TuneError(
        "bad-checkpoint",
        `${this.#path} is of a run with another model, other texts or other settings. Start again without --resume, or give another --checkpoint.`,
      );
    const figures = (report.layers ?? []) as readonly TunedLayerFigures[];
    for (const own of figures)
      this.#layers.set(own.block, { gate: delta.layers.find(({ block }) => block === own.block), figures: own });
    return this.#layers;
  }

  /** Keeps a layer; the file is whole at any time. A file without a changed layer cannot be written. */
  keep(layer: SweptLayer): void {
    this.#layers.set(layer.figures.block, layer);
    const all = [...this.#layers.values()].sort((a, b) => a.figures.block - b.figures.block);
    const layers = all.flatMap(({ gate }) => gate ?? []);
    if (layers.length === 0) return;
    const report = { fingerprint: this.#fingerprint, layers: all.map(({ figures }) => figures) };
    this.#writing = this.#writing.then(() =>
      writeRouterSafetensors(this.#path, { delta: { ...this.#shape, layers }, report }),
    );
    // A failed write is thrown by `settled`, not as an unhandled rejection.
    this.#writing.catch(() => {});
  }

  /** Resolves when all that was kept is on the disk. @throws GgufError `unwritable` */
  settled(): Promise<void> {
    return this.#writing;
  }
}
