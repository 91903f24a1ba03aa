/** What the model's thread and the thread of the store say to each other. Types only. */
import type { MessagePort } from "node:worker_threads";
import type { HintStoreStats } from "./kept-hints.ts";
import type { HintEngine } from "./open-hints.ts";

export interface HintThreadData {
  readonly path: string;
  readonly engine: HintEngine | undefined;
  readonly layers: number;
  readonly experts: number;
  readonly state: SharedArrayBuffer;
  readonly port: MessagePort;
}

export type HintRequest =
  | { readonly type: "ask"; readonly question: number; readonly keys: readonly Uint8Array[] }
  | { readonly type: "record"; readonly key: Uint8Array; readonly observed: Uint8Array }
  | { readonly type: "stop" };

export type HintReply =
  | { readonly type: "answer"; readonly question: number; readonly hints: readonly (Uint8Array | undefined)[] }
  | { readonly type: "problem"; readonly text: string }
  | { readonly type: "stats"; readonly stats: HintStoreStats };
