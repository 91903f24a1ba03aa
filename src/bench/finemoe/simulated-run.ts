/**
 * One simulated run: requests replayed through one policy with one cache, on a machine in virtual time, with figures of each
 * request; and the replay of other prompts that teaches a policy before. Called from worker threads.
 */

import type { Policy } from "../../cache/policy.ts";
import { emptyCounters } from "../../cache/statistics.ts";
import type { PolicyResources } from "../../policy/by-name.ts";
import type { RouterPredictor } from "../../predict/router-predictor.ts";
import { bestBytesPerSecond } from "../../simulate/disk-model.ts";
import type { PassOptions } from "../../simulate/forward-passes.ts";
import { futureOfTrace } from "../../simulate/future-of-trace.ts";
import type { MachineModel } from "../../simulate/machine-model.ts";
import { passesFor, Replay, type ReplayedPass } from "../../simulate/replay.ts";
import { memoryTrace } from "../../trace/memory-trace.ts";
import type { TraceDescription } from "../../trace/trace.ts";
import { countedSince, type Mode, type RequestFigures, type RunFigures } from "./figures.ts";
import { joinRequests, type TracedRequest } from "./joined-requests.ts";
import { replayPolicyWith } from "./policies.ts";
import type { RequestTrace } from "./request-trace.ts";
import { offlineName } from "./taught-policies.ts";

export interface SimulatedRun {
  readonly policy: string;
  readonly mode: Mode;
  readonly cacheBytes: number;
  readonly machine: MachineModel;
  /** Numbers of the samples, in the order in which they come. */
  readonly requests: readonly number[];
  /** What the policy learned before; undefined: nothing. */
  readonly learned?: Uint8Array | undefined;
  /** Requests decoded together. @default 1 */
  readonly batch?: number;
}

/** What all runs of a suite are made on; plain data, so that workers can have it. */
export interface SimulationGround {
  readonly trace: RequestTrace;
  readonly predictor: RouterPredictor | undefined;
}

export interface TaughtPolicy {
  /** Undefined when the policy learns nothing. */
  readonly learned: Uint8Array | undefined;
}

/** Recorded phases where there are any; else every token behind a short prompt is a decode step. */
export function passesOf({ recording }: TraceDescription): PassOptions {
  return recording.tokensFrom.includes("generated") ? { as: "recorded" } : { as: "decode", promptTokens: 32 };
}

export async function simulateRun(ground: SimulationGround, run: SimulatedRun): Promise<RunFigures> {
  const { trace } = ground;
  const { policy: name, mode, cacheBytes, machine, learned, batch = 1 } = run;
  const offline = mode === "offline" ? { ...run, policy: offlineName(name) } : run;
  const samples = joinRequests(trace.description, requestsOf(trace, run.requests), batch);
  const { replay, passes, policy } = await openReplay(
    ground,
    offline,
    samples,
    learned === undefined ? {} : { learned },
  );
  const requests = samples.map((request) => requestFigures(replay, request, passes));
  const { bytesUnused, policyFigures = {} } = replay.figures();
  return {
    ...{ source: "simulated", mode, policy: name, cacheBytes, requests, bytesUnused, mechanisms: policyFigures },
    learns: policy()?.learned !== undefined,
    driveBytesPerSecond: bestBytesPerSecond(machine.disk),
    policyMs: null,
  };
}

/** Replays the requests for what the policy learns from them. */
export async function teach(
  ground: SimulationGround,
  run: Omit<SimulatedRun, "mode" | "batch">,
): Promise<TaughtPolicy> {
  const samples = requestsOf(ground.trace, run.requests);
  const { replay, policy } = await openReplay(ground, run, samples, {});
  for (const { sample, signals } of samples) replay.sample(sample, signals);
  const learned = policy()?.learned?.();
  replay.figures();
  return { learned };
}

async function openReplay(
  { trace: { description }, predictor }: SimulationGround,
  { policy: name, cacheBytes, machine }: Pick<SimulatedRun, "policy" | "cacheBytes" | "machine">,
  requests: readonly TracedRequest[],
  resources: PolicyResources,
) {
  const passOptions = passesOf(description);
  let made: Policy | undefined;
  const all = { ...resources, predictor, modelHash: description.model.hash ?? undefined };
  const policy = replayPolicyWith(name, all, (policy) => {
    made = policy;
  });
  const passes: ReplayedPass[] = [];
  const future = policy.knowsFuture
    ? await futureOfTrace(
        memoryTrace(
          description,
          requests.map(({ sample }) => sample),
        ),
        passesFor(description, cacheBytes, passOptions),
      )
    : undefined;
  const replay = new Replay({
    ...{ trace: description, policy, cacheBytes, machine, passes: passOptions },
    ...(future === undefined ? {} : { future }),
    onPass: (pass) => passes.push(pass),
  });
  return { replay, passes, policy: () => made };
}

/** Replays one request; `passes` are those that the replay has told, taken out once they are summed up. */
function requestFigures(replay: Replay, { sample, signals }: TracedRequest, passes: ReplayedPass[]): RequestFigures {
  const before = replay.statistics() ?? { prefill: emptyCounters(), decode: emptyCounters() };
  replay.sample(sample, signals);
  const after = replay.statistics() ?? before;
  const told = passes.splice(0);
  const decode = told.filter(({ phase }) => phase === "decode");
  const sum = (of: readonly ReplayedPass[], name: "wallMs" | "computeMs" | "stallMs" | "tokens") =>
    of.reduce((total, pass) => total + pass[name], 0);
  return {
    request: sample.sample,
    domain: sample.domain,
    ttftMs: sum(
      told.filter(({ phase }) => phase === "prefill"),
      "wallMs",
    ),
    stepMs: decode.map(({ wallMs }) => wallMs),
    decodeTokens: sum(decode, "tokens"),
    computeMs: sum(decode, "computeMs"),
    stallMs: sum(decode, "stallMs"),
    prefill: countedSince(before.prefill, after.prefill),
    decode: countedSince(before.decode, after.decode),
  };
}

function requestsOf({ samples, signals }: RequestTrace, numbers: readonly number[]): readonly TracedRequest[] {
  const byNumber = new Map(samples.map((sample, i) => [sample.sample, { sample, signals: signals[i] }]));
  return numbers.map((number) => byNumber.get(number) as TracedRequest);
}
