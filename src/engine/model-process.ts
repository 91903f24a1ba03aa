/**
 * The other end of `host.ts`: starts the model's process with the Node flags it needs, sends requests, and turns its
 * death into an error that says why. It knows nothing of prompts or budgets.
 */
import { type ChildProcess, spawn } from "node:child_process";
import fs from "node:fs";
import { fileURLToPath } from "node:url";
import { compiledModule } from "../compiled-module.ts";
import { openAbortFile, writeAbort } from "./abort-file.ts";
import { ModelError, type Reply, type Request } from "./protocol.ts";

/**
 * V8's own threads (compiler, garbage collector) fight ggml's spinning threads for the cores: in the first seconds a
 * token took 72 ms of computing with Node's defaults and 24 with no V8 workers. The young generation is kept small
 * because what the host allocates is little and its resident set is part of the budget.
 */
export const HOST_NODE_FLAGS: readonly string[] = [
  "--v8-pool-size=0",
  "--single-threaded-gc",
  "--max-semi-space-size=2",
];

/** Characters of a process's last words that are kept. */
export const KEPT_STDERR = 4000;

/** The model's process ended although nobody asked it to. */
export class ModelProcessError extends Error {
  override readonly name = "ModelProcessError";
  readonly signal: string | undefined;
  readonly exitCode: number | undefined;

  constructor(exitCode: number | null, signal: string | null, stderr: string) {
    const last = stderr.trim().split("\n").slice(-3).join(" | ");
    const why =
      signal === "SIGKILL"
        ? "It was killed, most likely by the system for using too much memory; give it a smaller --memory."
        : signal === "SIGBUS"
          ? "The model file became unreadable under it (truncated, or a failing drive)."
          : signal === "SIGABRT"
            ? "llama.cpp gave up on this model."
            : "Please report this.";
    super(
      `The model's process ended with ${signal ?? `code ${exitCode}`}. ${why}${last === "" ? "" : ` It last said: ${last}`}`,
    );
    this.signal = signal ?? undefined;
    this.exitCode = exitCode ?? undefined;
  }
}

/** The model was closed: by `close()`, or at the end of an `await using`. */
export class ModelClosedError extends Error {
  override readonly name = "ModelClosedError";

  constructor() {
    super("The model was closed. Open it again to use it.");
  }
}

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
  readonly onReply: (reply: Reply) => void;
}

type Body = Request extends infer R ? (R extends Request ? Omit<R, "id"> : never) : never;

export class ModelProcess {
  readonly #child: ChildProcess;
  readonly #abortDescriptor: number;
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 1;
  #stderr = "";
  #ended: Error | undefined;
  #closed: Promise<void> | undefined;
  /** Resolves when nothing that can be aborted runs or waits for its turn any more. */
  #turn: Promise<void> = Promise.resolve();

  readonly #onNote: (text: string) => void;

  /** @param options.onNote told what the user should know, after the opening too */
  constructor(options: { readonly verbose: boolean; readonly onNote?: ((text: string) => void) | undefined }) {
    this.#onNote = options.onNote ?? ((text) => process.emitWarning(text));
    this.#abortDescriptor = openAbortFile();
    const program = compiledModule(import.meta.url, "./host.js");
    this.#child = spawn(process.execPath, [...HOST_NODE_FLAGS, fileURLToPath(program)], {
      stdio: ["ignore", "inherit", "pipe", "ipc", this.#abortDescriptor],
      serialization: "advanced",
    });
    this.#child.on("message", (message) => this.#receive(message as Reply));
    this.#child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-KEPT_STDERR);
      if (options.verbose) process.stderr.write(text);
    });
    this.#child.on("error", (error) => this.#end(error));
    this.#child.on("close", (code, signal) => this.#end(new ModelProcessError(code, signal, this.#stderr)));
    process.once("exit", this.#kill);
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /**
   * Sends a request and waits for its answer. When `signal` fires, the model gives up at its next layer and the promise
   * is rejected with the signal's reason.
   */
  async request<T>(body: Body, onReply: (reply: Reply) => void = () => {}, signal?: AbortSignal): Promise<T> {
    signal?.throwIfAborted();
    if (body.type !== "open" && body.type !== "generate") return this.#send<T>(body, onReply);
    // One at a time: the host answers between two tokens of a generation, and its one abort byte has no address.
    const before = this.#turn;
    let leave = () => {};
    const left = new Promise<void>((resolve) => (leave = resolve));
    this.#turn = before.then(() => left);
    const listening = new AbortController();
    let running = false;
    let abort = () => {};
    const aborted = new Promise<void>((resolve) => (abort = resolve));
    signal?.addEventListener("abort", () => abort(), { signal: listening.signal });
    try {
      await Promise.race([before, aborted]);
      signal?.throwIfAborted();
      running = true;
      abort = () => this.#setAbort(1);
      return await this.#send<T>(body, onReply);
    } catch (error) {
      signal?.throwIfAborted();
      throw error;
    } finally {
      listening.abort();
      if (running) this.#setAbort(0);
      leave();
    }
  }

  #send<T>(body: Body, onReply: (reply: Reply) => void): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#closed !== undefined) throw new ModelClosedError();
      if (this.#ended !== undefined) throw this.#ended;
      const id = this.#nextId++;
      this.#waiting.set(id, { resolve: resolve as (value: unknown) => void, reject, onReply });
      this.#child.send({ ...body, id } as Request, (error) => {
        if (error !== null && this.#waiting.delete(id)) reject(this.#ended ?? error);
      });
    });
  }

  /** Gives the model back and waits until its process is gone. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    for (const { reject } of this.#waiting.values()) reject(new ModelClosedError());
    this.#waiting.clear();
    if (this.#ended === undefined) {
      this.#setAbort(1);
      const gone = new Promise<void>((resolve) => this.#child.once("close", () => resolve()));
      this.#child.send({ type: "close", id: 0 } satisfies Request, () => {});
      await gone;
    }
  }

  readonly #kill = () => void this.#child.kill("SIGKILL");

  #setAbort(value: 0 | 1): void {
    // What runs while the model closes is to be given up, whoever else is done.
    if (this.#ended === undefined && (value === 1 || this.#closed === undefined))
      writeAbort(this.#abortDescriptor, value);
  }

  #receive(reply: Reply): void {
    if (reply.type === "note") {
      this.#onNote(reply.text);
      return;
    }
    const waiting = this.#waiting.get(reply.id);
    if (waiting === undefined) return;
    switch (reply.type) {
      case "done":
        this.#waiting.delete(reply.id);
        waiting.resolve(reply.result);
        return;
      case "failed":
        this.#waiting.delete(reply.id);
        waiting.reject(new ModelError(reply.error));
        return;
      default:
        waiting.onReply(reply);
    }
  }

  #end(error: Error): void {
    if (this.#ended !== undefined) return;
    this.#ended = error;
    process.removeListener("exit", this.#kill);
    fs.closeSync(this.#abortDescriptor);
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}
