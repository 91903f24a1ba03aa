/**
 * `warmset chat`: a conversation that streams. On a terminal with a prompt, line editing and commands; from a pipe each
 * line is a message and answers are all that stdout gets.
 */
import { basename } from "node:path";
import { createInterface, type Interface } from "node:readline";
import type { Command } from "commander";
import type { GenerateOptions, GenerationResult, MoeModel } from "../engine/open-model.ts";
import { DEFAULT_POLICY } from "../engine/options.ts";
import { processMemory } from "../engine/process-memory.ts";
import { ModelError } from "../engine/protocol.ts";
import {
  addOptions,
  CACHE_BIAS_OPTIONS,
  MODEL_OPTIONS,
  SAMPLING_OPTIONS,
  type Settings,
  settingsOf,
} from "./config.ts";
import { Conversation } from "./conversation.ts";
import { EXIT, InterruptedError, OutputClosedError } from "./failure.ts";
import { listenForSignals } from "./interruption.ts";
import { generateOptions, givenTemplate, modelPath, refuseUnusedFiles } from "./model-options.ts";
import { openWithStatus } from "./open-with-status.ts";
import { runSummary } from "./run-report.ts";
import { StatusLine } from "./status-line.ts";

export function addChatCommand(program: Command): void {
  const command = program.command("chat [MODEL]").description("talk with a model; /help lists what can be typed");
  addOptions(command, [
    ...MODEL_OPTIONS,
    "learned",
    "predictor",
    "maps",
    "hints",
    ...CACHE_BIAS_OPTIONS,
    ...SAMPLING_OPTIONS,
    "model",
    "quiet",
    "verbose",
  ]);
  command.action((argument: string | undefined) => {
    const settings = settingsOf(command);
    refuseUnusedFiles(command, [settings.policy ?? DEFAULT_POLICY]);
    return chat(argument, settings);
  });
}

const HELP = `  /help   this list
  /stats  speed, hits and memory of the last answer
  /clear  forget the conversation
  /exit   leave (also Ctrl-D)
  Ctrl-C  stop the answer; again: leave
`;

async function chat(argument: string | undefined, settings: Settings): Promise<void> {
  const path = modelPath(argument, settings);
  const template = givenTemplate(settings);
  const sampling = { ...generateOptions(settings), ...(template === undefined ? {} : { template }) };
  // From here to the first question, as at the prompt, an interruption means to leave.
  const leave = new AbortController();
  using status = new StatusLine({ quiet: settings.quiet ?? false });
  let answer: AbortController | undefined;
  const interrupt = (name: string) => {
    if (leave.signal.aborted) process.exit(EXIT.interrupted);
    if (name === "SIGINT" && answer !== undefined && !answer.signal.aborted) answer.abort(new InterruptedError(name));
    else {
      answer?.abort(new InterruptedError(name));
      leave.abort(new InterruptedError(name));
    }
  };
  using _signals = listenForSignals(interrupt);
  const onClosed = () => {
    answer?.abort(new OutputClosedError());
    leave.abort(new OutputClosedError());
  };
  process.stdout.on("error", onClosed);
  const { model, loadMs } = await openWithStatus(path, settings, status, { signal: leave.signal });
  const lines = new QuestionReader(() => interrupt("SIGINT"));
  leave.signal.addEventListener("abort", () => lines.close());
  try {
    const session = new ChatSession(model, sampling, loadMs, status);
    if (lines.interactive && !settings.quiet)
      process.stderr.write(`${basename(model.info.path)}, ${memoryText(model)}. /help lists commands.\n`);
    let line: string | undefined;
    while (!leave.signal.aborted) {
      line = (await lines.next())?.trim();
      if (line === undefined || line === "/exit") break;
      if (line === "") continue;
      if (line.startsWith("/")) {
        process.stderr.write(session.command(line));
        continue;
      }
      answer = new AbortController();
      await session.answer(line, answer.signal);
      answer = undefined;
    }
    // The terminal's own prompt should not stand behind ours.
    if (lines.interactive && line !== "/exit") process.stdout.write("\n");
    leave.signal.throwIfAborted();
  } finally {
    lines.close();
    process.stdout.removeListener("error", onClosed);
    await model.close();
  }
}

function memoryText({ info }: MoeModel): string {
  return info.resident
    ? "all experts in memory"
    : `${Math.round((100 * info.plan.expertBudgetBytes) / info.plan.expertBytesTotal)} % of the experts in memory`;
}

class ChatSession {
  readonly #model: MoeModel;
  readonly #sampling: GenerateOptions & { readonly template?: string };
  readonly #loadMs: number;
  readonly #status: StatusLine;
  readonly #conversation = new Conversation();
  #last: GenerationResult | undefined;

  constructor(
    model: MoeModel,
    sampling: GenerateOptions & { readonly template?: string },
    loadMs: number,
    status: StatusLine,
  ) {
    this.#model = model;
    this.#sampling = sampling;
    this.#loadMs = loadMs;
    this.#status = status;
  }

  /** Streams the answer to stdout and remembers it, also one that was stopped. */
  async answer(question: string, signal: AbortSignal): Promise<void> {
    const { contextSize } = this.#model.info;
    const tokens = await this.#model.tokenize(question);
    let forgotten = this.#conversation.makeRoom(tokens.length, contextSize);
    for (;;) {
      try {
        const result = await this.#stream(question, signal);
        this.#last = result;
        this.#conversation.add(question, result.text, result.promptTokens + result.generatedTokens);
        if (result.promptTokens + result.generatedTokens >= contextSize)
          process.stderr.write("(the context is full; a larger --ctx-size holds longer answers)\n");
        break;
      } catch (error) {
        if (!(error instanceof ModelError) || error.name !== "ContextFullError") throw error;
        if (!this.#conversation.forgetOldest()) {
          process.stderr.write(`${error.message}\n`);
          break;
        }
        forgotten++;
      }
    }
    if (forgotten > 0)
      process.stderr.write(
        `(${forgotten} old ${forgotten === 1 ? "turn was" : "turns were"} forgotten to make room)\n`,
      );
  }

  /** What a line that starts with a slash answers. */
  command(line: string): string {
    switch (line) {
      case "/help":
        return HELP;
      case "/clear":
        this.#conversation.clear();
        return "The conversation is forgotten.\n";
      case "/stats":
        return this.#last === undefined ? "Nothing was generated yet.\n" : `${this.#summary(this.#last)}\n`;
      default:
        return `There is no ${line}; /help lists what there is.\n`;
    }
  }

  async #stream(question: string, signal: AbortSignal): Promise<GenerationResult> {
    const options = { ...this.#sampling, signal, onAbort: "resolve" } as const;
    this.#status.waiting("computing the prompt,");
    try {
      const generation = this.#model.chat(this.#conversation.with(question), options);
      for await (const piece of generation) {
        this.#status.clear();
        process.stdout.write(piece);
      }
      const result = await generation.result;
      process.stdout.write(result.text.endsWith("\n") ? "" : "\n");
      return result;
    } finally {
      this.#status.clear();
    }
  }

  #summary(result: GenerationResult): string {
    return runSummary({
      info: this.#model.info,
      result,
      loadMs: this.#loadMs,
      startToFirstTextMs: undefined,
      peakRssCliBytes: processMemory().peakBytes,
    });
  }
}

/** Lines of stdin, one at a time: asked for with a prompt on a terminal, as they come from a pipe. */
class QuestionReader {
  readonly interactive = process.stdin.isTTY === true && process.stdout.isTTY === true;
  readonly #reader: Interface;
  readonly #waiting: string[] = [];
  #wake = () => {};
  #ended = false;

  constructor(onInterrupt: () => void) {
    this.#reader = createInterface({
      input: process.stdin,
      ...(this.interactive ? { output: process.stdout, prompt: "> " } : {}),
    });
    this.#reader.on("line", (line) => {
      this.#waiting.push(line);
      this.#wake();
    });
    this.#reader.on("close", () => {
      this.#ended = true;
      this.#wake();
    });
    // On a terminal readline takes Ctrl-C as a key and no signal arrives.
    this.#reader.on("SIGINT", () => {
      if (this.#reader.line === "") return onInterrupt();
      this.#reader.write(null, { ctrl: true, name: "u" });
    });
  }

  /** The next line, or undefined when there is none any more. */
  async next(): Promise<string | undefined> {
    if (this.#waiting.length === 0 && !this.#ended) {
      if (this.interactive) this.#reader.prompt();
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    return this.#waiting.shift();
  }

  close(): void {
    this.#reader.close();
  }
}
