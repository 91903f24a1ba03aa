/**
 * How a job that runs a model in a process of its own (a recording, a tuning, an evaluation) is to open it: plain data, and the
 * session options that it comes to.
 */
import { policyByName } from "../policy/by-name.ts";
import type { MemoryBudget, SessionOptions } from "./options.ts";
import type { RouterOption } from "./router-override.ts";

export interface EngineSettings {
  readonly memory: MemoryBudget;
  readonly policy: string;
  readonly router?: RouterOption | undefined;
  readonly microBatchTokens: number | undefined;
  readonly threads: number | undefined;
  readonly backend: "owned" | "page-cache" | undefined;
  readonly io: "auto" | "direct" | "pread" | undefined;
  /** Bytes that the process that asks holds, part of the budget. */
  readonly reservedBytes: number;
  readonly verbose: boolean;
}

export interface SessionEvents {
  /** Turns non-zero when a running call is to be given up: address of a byte. @default none */
  readonly abortAddress?: number | undefined;
  readonly onLoad?: ((bytesRead: number, bytesTotal: number) => void) | undefined;
}

/** All of the settings but `router` and `microBatchTokens`, which not every job goes by. */
export function sessionOptions(
  { memory, policy, reservedBytes, verbose, threads, backend, io }: EngineSettings,
  { abortAddress, onLoad }: SessionEvents,
) {
  return {
    ...{ memory, policy: policyByName(policy), reservedBytes, verbose },
    ...(threads === undefined ? {} : { threads }),
    ...(backend === undefined ? {} : { backend }),
    ...(io === undefined ? {} : { io }),
    ...(abortAddress === undefined ? {} : { abortAddress }),
    ...(onLoad === undefined ? {} : { onProgress: onLoad }),
  } satisfies SessionOptions;
}
