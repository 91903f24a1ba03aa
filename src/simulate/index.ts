/**
 * What a model would do on a machine, from a trace of what its routers chose: the engine's own cache and policies, a model
 * of drive and processor in place of the real ones, and virtual time. Pure: no native code.
 */
export {
  type BatchCost,
  type ComputeModel,
  computeByBytes,
  computeMsOf,
  type EngineCost,
  type LayerCost,
  type ProductCost,
  scaledCompute,
  type WeightBytes,
} from "./compute-model.ts";
export { bestBytesPerSecond, type DiskBurst, type DiskModel, type PlainDisk, plainDisk } from "./disk-model.ts";
export { CacheTooSmallError, PolicyNotReplayableError, UnevenChoiceError } from "./errors.ts";
export type { PassOptions, PassOrder } from "./forward-passes.ts";
export { futureOfTrace } from "./future-of-trace.ts";
export type { MachineModel } from "./machine-model.ts";
export { checkReplayable, type ReplayPolicy, type ReplaySignals, replayPolicy, replayPolicyNames } from "./policies.ts";
export {
  type PhaseFigures,
  passesFor,
  Replay,
  type ReplayedPass,
  type ReplayFigures,
  type ReplayOptions,
  type SampleStart,
  shapeOf,
} from "./replay.ts";
export { type SampleSignals, SignalReader, type TracedWeights } from "./sample-signals.ts";
export type { SimulationRow } from "./simulation-row.ts";
export { type SimulateOptions, type Simulation, type SimulationProgress, simulate } from "./sweep.ts";
