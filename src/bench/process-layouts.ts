/** Where a model may run: the layouts that `npm run bench:process` compares, and what their processes say. Plain data. */
import { HOST_NODE_FLAGS } from "../engine/model-process.ts";
import { CONTENDER_NODE_FLAGS } from "./contender-protocol.ts";

export interface ProcessLayout {
  readonly name: string;
  /** `main`: on the process's own thread; `worker`: in a worker thread; `openModel`: in the child process of the public API. */
  readonly where: "main" | "worker" | "openModel";
  /** Flags of the process that asks for tokens; the child of `openModel` has its own. */
  readonly nodeFlags: readonly string[];
}

export const LAYOUTS: readonly ProcessLayout[] = [
  { name: "process, Node's defaults", where: "main", nodeFlags: [] },
  { name: `process, ${CONTENDER_NODE_FLAGS.join(" ")}`, where: "main", nodeFlags: CONTENDER_NODE_FLAGS },
  { name: "process, the model process's flags", where: "main", nodeFlags: HOST_NODE_FLAGS },
  { name: "worker thread, Node's defaults", where: "worker", nodeFlags: [] },
  { name: "openModel (child process, IPC)", where: "openModel", nodeFlags: [] },
];

export interface LayoutMessage {
  readonly where: ProcessLayout["where"];
  readonly modelPath: string;
  readonly threads: number;
}

export interface LayoutRow extends ProcessLayout {
  /** Runs that ended with figures; the figures are medians over them. */
  readonly runs: number;
  readonly failures: readonly string[];
  readonly firstMsPerToken: number | null;
  readonly warmMsPerToken: number | null;
  readonly againMsPerToken: number | null;
  readonly askerResidentBytes: number | null;
  /** Null where the model is in the process that asks. */
  readonly modelResidentBytes: number | null;
}

export interface LayoutRun {
  /** Time per token of the first 50 tokens after the first, ms. */
  readonly firstMs: number;
  /** Time per token of tokens 200 to 400, ms. */
  readonly warmMs: number;
  /** Time per token of the first 50 once more, after those. */
  readonly againMs: number;
  /** Resident memory at the end, of the process that asked and of the model's own, if there is one. */
  readonly residentBytes: { readonly asker: number; readonly model: number | undefined };
}
