/**
 * llama.cpp's log, which is one callback for the whole process. Silent unless `verbose`; the last warnings and errors
 * are kept so that a failed load can say why. Not a logger for warmset itself.
 */
import { isMainThread } from "node:worker_threads";
import koffi from "koffi";
import type { LlamaFunctions } from "./functions.ts";

// enum ggml_log_level
const DEBUG = 1;
const WARN = 3;
const ERROR = 4;
const CONTINUED = 5; // goes on with the previous line

/** Enough for the chain "tensor, loader, load" of one failure, and bounded when a server runs for weeks. */
const KEPT_LINES = 16;

/** Buffers that llama.cpp says it has allocated, bytes by kind ("KV", "RS", "compute", "output"). */
export type BufferSizes = ReadonlyMap<string, number>;

// "llama_kv_cache:        CPU KV buffer size =     2.00 MiB"; there is no call that tells these sizes.
const BUFFER_SIZE = /(\w+) buffer size =\s*([\d.]+) MiB/;

export class NativeLog {
  /** Copy to stderr what llama.cpp logs, but for its debug lines (400 for one context). */
  verbose: boolean;
  readonly #llama: LlamaFunctions;
  #attached = false;
  #lines: string[] = [];
  #level = DEBUG;
  readonly #buffers = new Map<string, number>();

  constructor(llama: LlamaFunctions, verbose: boolean) {
    this.#llama = llama;
    this.verbose = verbose;
    // A callback ends with its thread, and whatever llama.cpp then says ends the process: a thread that only computes leaves
    // the log to the main one.
    if (isMainThread) this.#attach();
  }

  /** Makes this log the receiver of everything that libllama and libggml print. */
  #attach(): void {
    this.#attached = true;
    const receive = (level: number, text: string) => this.#receive(level, text);
    // Never unregistered: the libraries stay loaded and may log until the process ends.
    this.#llama.llama_log_set(koffi.register(receive, "ggml_log_callback *"), null);
  }

  /** Forgets what was kept, to collect the lines of one operation. Takes the log over where that is not the main thread's. */
  clear(): void {
    if (!this.#attached) this.#attach();
    this.#lines.length = 0;
    this.#buffers.clear();
  }

  /** Sizes of the buffers announced since `clear()`; valid until then. */
  bufferSizes(): BufferSizes {
    return this.#buffers;
  }

  /** Warnings and errors since `clear()`, oldest first, at most the last 16. */
  problems(): readonly string[] {
    return this.#lines.map((line) => line.trim()).filter((line) => line !== "");
  }

  #receive(level: number, text: string): void {
    const continued = level === CONTINUED;
    if (!continued) this.#level = level;
    if (this.verbose && this.#level !== DEBUG) process.stderr.write(text);
    const [, kind, mebibytes] = BUFFER_SIZE.exec(text) ?? [];
    if (kind !== undefined)
      this.#buffers.set(kind, (this.#buffers.get(kind) ?? 0) + Math.ceil(Number(mebibytes) * 2 ** 20));
    if (this.#level !== WARN && this.#level !== ERROR) return;
    if (continued && this.#lines.length > 0) {
      this.#lines[this.#lines.length - 1] += text;
      return;
    }
    this.#lines.push(text);
    if (this.#lines.length > KEPT_LINES) this.#lines.shift();
  }
}
