/**
 * A store of hints in a thread of its own. The model's thread computes synchronously for seconds, so what comes back is fetched from
 * the port when it comes by, and waited for in shared memory; nothing here needs the event loop.
 */
import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from "node:worker_threads";
import { compiledModule } from "../../compiled-module.ts";
import type { HintLink, HintVisitor } from "./hint-link.ts";
import type { HintReply, HintRequest, HintThreadData } from "./hint-messages.ts";
import type { HintStoreStats } from "./kept-hints.ts";
import type { HintEngine } from "./open-hints.ts";
import { ThreadState } from "./thread-state.ts";

export interface ThreadLinkOptions {
  readonly path: string;
  readonly shape: { readonly layers: number; readonly experts: number };
  /** @default that of `openHints` */
  readonly engine?: HintEngine;
}

/**
 * A store that was killed reads its zones when it is opened: 0.06 s with 10,000 hints, 0.4 s with a million, which is more than the
 * usual file holds (`bench/results/hint-stores.json`); 7 s on a machine that had much else to do.
 */
const OPENING_MS = 10_000;
/** Writing what waits takes some ms; a thread that has not ended by then hangs. */
const CLOSING_MS = 10_000;

export class ThreadLink implements HintLink {
  readonly #path: string;
  readonly #state = new ThreadState();
  readonly #worker: Worker;
  readonly #port: MessagePort;
  #questions = 0;
  #answered = 0;
  #seen = 0;
  #problem: string | undefined;
  /** Told when the store is closed, not before. */
  #stats: HintStoreStats | undefined;
  #recorded = 0;
  #waitedMs = 0;
  #longestWaitMs = 0;
  #closed = false;

  constructor({ path, shape, engine }: ThreadLinkOptions) {
    this.#path = path;
    const { port1, port2 } = new MessageChannel();
    const { layers, experts } = shape;
    const workerData: HintThreadData = {
      ...{ path, engine, layers, experts, state: this.#state.shared, port: port2 },
    };
    this.#port = port1;
    this.#worker = new Worker(compiledModule(import.meta.url, "./hint-thread.js"), {
      workerData,
      transferList: [port2],
      execArgv: [],
      resourceLimits: { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 4 },
    });
    this.#worker.unref();
    // These come only between tokens; the thread itself writes down what it can catch.
    this.#worker.on("error", (error) => this.#fail(error.message));
    this.#worker.on("exit", () => {
      if (!this.#closed) this.#fail("its thread ended by itself");
    });
  }

  /** Waits until the store is open or has failed. */
  waitUntilOpen(): void {
    this.#state.waitWhile("opening", OPENING_MS);
    if (this.#state.phase === "opening") this.#fail(`it was not open after ${OPENING_MS / 1000} s`);
    this.#fetch(() => {});
  }

  get problem(): string | undefined {
    return this.#problem;
  }

  ask(keys: readonly Uint8Array[]): number {
    const question = ++this.#questions;
    this.#send({ type: "ask", question, keys: [...keys] });
    return question;
  }

  take(waitMs: number, visit: HintVisitor): void {
    this.#fetch(visit);
    if (waitMs <= 0 || this.#answered >= this.#questions) return;
    const start = performance.now();
    for (let left = waitMs; left > 0 && this.#open(); left = start + waitMs - performance.now()) {
      this.#state.waitForAnswer(this.#seen, left);
      this.#fetch(visit);
      if (this.#answered >= this.#questions) break;
    }
    const waited = performance.now() - start;
    this.#waitedMs += waited;
    this.#longestWaitMs = Math.max(this.#longestWaitMs, waited);
  }

  record(key: Uint8Array, observed: Uint8Array): void {
    this.#recorded++;
    this.#send({ type: "record", key, observed });
  }

  figures(): Readonly<Record<string, number>> {
    const stats = this.#stats;
    return {
      ...{ hintQuestions: this.#questions, hintAnswers: this.#answered, hintsRecorded: this.#recorded },
      ...{ hintWaitMs: this.#waitedMs, hintLongestWaitMs: this.#longestWaitMs },
      ...(stats === undefined ? {} : { hintsWritten: stats.written, hintStoreRamBytes: stats.ramBytes }),
    };
  }

  close(): void {
    if (this.#closed) return;
    this.#send({ type: "stop" });
    this.#closed = true;
    const end = performance.now() + CLOSING_MS;
    if (this.#state.phase === "opening") this.#state.waitWhile("opening", CLOSING_MS);
    if (this.#state.phase === "open") this.#state.waitWhile("open", Math.max(0, end - performance.now()));
    this.#fetch(() => {});
    if (this.#state.phase === "open") this.#fail(`it did not close within ${CLOSING_MS / 1000} s`);
    this.#port.close();
    void this.#worker.terminate();
  }

  #open(): boolean {
    return this.#state.phase === "open";
  }

  /** A store that has failed, or is closed, is told nothing more. */
  #send(request: HintRequest): void {
    const { phase } = this.#state;
    if (this.#closed || phase === "failed" || phase === "stopped") return;
    this.#port.postMessage(request);
  }

  #fetch(visit: HintVisitor): void {
    if (this.#seen === this.#state.answers) return;
    this.#seen = this.#state.answers;
    for (;;) {
      const received = receiveMessageOnPort(this.#port) as { message: HintReply } | undefined;
      if (received === undefined) return;
      const { message } = received;
      switch (message.type) {
        case "answer":
          // Look-ups run side by side: a later question may be answered first.
          this.#answered++;
          visit(message.question, message.hints);
          break;
        case "problem":
          this.#fail(message.text);
          break;
        case "stats":
          this.#stats = message.stats;
          break;
        default:
          message satisfies never;
      }
    }
  }

  #fail(why: string): void {
    this.#problem ??= `The hints in ${this.#path} are not used: ${why.replace(/\.$/, "")}. The model runs on without.`;
  }
}
