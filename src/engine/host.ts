/**
 * The program of the process that runs a model: opens a session, answers requests one after the other, streams pieces.
 * A process rather than a worker thread, because Node's flags for V8's threads hold for a whole process, because
 * llama.cpp ends its process on some errors (GGML_ABORT) and a bad disk can raise SIGBUS, and because what the model
 * takes of memory is then one process's figure.
 */
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { headerHash } from "../gguf/header-hash.ts";
import { openGguf } from "../gguf/index.ts";
import { chatTemplate } from "../llama/index.ts";
import { dieWithParent, mapShared, PAGE_BYTES } from "../memory/libc.ts";
import { policyByName } from "../policy/by-name.ts";
import { loadPredictor } from "../predict/predictor-file.ts";
import { ABORT_DESCRIPTOR } from "./abort-file.ts";
import { type GenerationEvent, GenerationState, type GenerationSummary, generate } from "./generation.ts";
import { type OpenedHints, sessionHints } from "./hints.ts";
import { openPolicy } from "./learned-file.ts";
import { openSession } from "./open-session.ts";
import type { GenerateRequest, GenerateResult, ModelInfo, OpenRequest, Prompt, Reply, Request } from "./protocol.ts";
import { toPortable } from "./protocol.ts";
import { routersHash } from "./router-override.ts";
import type { Session } from "./session.ts";

const PROGRESS_INTERVAL_MS = 100;

// A host in the middle of a long prompt notices nothing: without this it computes on after its parent was killed.
if (process.platform === "linux") dieWithParent();

let session: Session | undefined;
let hints: OpenedHints | undefined;
let problemTold = false;
let state = new GenerationState();
const abortAddress = process.platform === "linux" ? mapShared(ABORT_DESCRIPTOR, PAGE_BYTES) : undefined;

function send(reply: Reply): void {
  process.send?.(reply);
}

/** What has gone wrong with the hints, the first time that it is asked for. */
function toldOnce(): string | undefined {
  const problem = hints?.link.problem;
  if (problem === undefined || problemTold) return undefined;
  problemTold = true;
  return problem;
}

function tellProblem(): void {
  const text = toldOnce();
  if (text !== undefined) send({ type: "note", id: 0, text });
}

function open(id: number, request: OpenRequest): ModelInfo {
  const modelHash = headerHash(openGguf(request.path));
  const predictor = request.predictor === undefined ? undefined : loadPredictor(request.predictor, modelHash);
  const maps = request.maps === undefined ? undefined : readFileSync(request.maps);
  const stopwatch = () => performance.now();
  const { policy, learned, notes } = openPolicy(request.policy, {
    modelHash,
    routersHash: () => request.router && routersHash(request.path, request.router),
    learned: request.learned,
    make: (name, resources) => policyByName(name, { ...resources, predictor, maps, modelHash, stopwatch }),
  });
  if (request.hints !== undefined && request.planOnly !== true) hints = sessionHints(request, request.hints, modelHash);
  let reportedAt = 0;
  const opened = openSession(request.path, {
    memory: request.memory,
    policy,
    ...(learned === undefined ? {} : { learned }),
    hints,
    cacheBias: request.cacheBias,
    router: request.router,
    reservedBytes: request.reservedBytes,
    ...(request.contextSize === undefined ? {} : { contextSize: request.contextSize }),
    ...(request.microBatchTokens === undefined ? {} : { microBatchTokens: request.microBatchTokens }),
    ...(request.threads === undefined ? {} : { threads: request.threads }),
    ...(request.backend === undefined ? {} : { backend: request.backend }),
    ...(request.io === undefined ? {} : { io: request.io }),
    ...(abortAddress === undefined ? {} : { abortAddress }),
    verbose: request.verbose ?? false,
    planOnly: request.planOnly ?? false,
    onProgress: (bytesRead, bytesTotal) => {
      const now = performance.now();
      if (now - reportedAt < PROGRESS_INTERVAL_MS && bytesRead < bytesTotal) return;
      reportedAt = now;
      send({ type: "progress", id, bytesRead, bytesTotal });
    },
  });
  session = opened;
  hints?.link.waitUntilOpen();
  const problem = toldOnce();
  state = new GenerationState();
  const { model, context } = opened;
  return {
    path: opened.path,
    description: model.description,
    architecture: model.metadata("general.architecture") ?? "unknown",
    contextSize: context.contextSize,
    trainedContextSize: model.trainedContextSize,
    microBatchTokens: opened.microBatchTokens,
    hasChatTemplate: model.chatTemplate !== undefined,
    policy: policy.name,
    resident: opened.resident,
    plan: opened.plan,
    load: opened.load,
    notes: [...notes, ...opened.notes, ...(problem === undefined ? [] : [problem])],
    threads: request.threads ?? availableParallelism(),
    llamaVersion: model.libraries.version,
  };
}

function promptTokens(opened: Session, prompt: Prompt): Int32Array {
  const { vocabulary } = opened.model;
  switch (prompt.kind) {
    case "tokens":
      return prompt.tokens;
    case "text":
      return vocabulary.tokenize(prompt.text);
    case "chat": {
      const text = chatTemplate(opened.model, prompt.template).render(prompt.messages, { addGenerationPrompt: true });
      return vocabulary.tokenize(text, { addSpecial: true, parseSpecial: true });
    }
    default:
      prompt satisfies never;
      throw new RangeError("Unknown kind of prompt");
  }
}

async function run(id: number, opened: Session, request: GenerateRequest): Promise<GenerateResult> {
  const before = opened.statistics();
  const steps = generate(opened, state, promptTokens(opened, request.prompt), request.sampling, request.limits);
  for (;;) {
    const step: IteratorResult<GenerationEvent, GenerationSummary> = steps.next();
    if (step.done === true) {
      tellProblem();
      return { summary: step.value, before, after: opened.statistics() };
    }
    send({ type: "piece", id, text: step.value.text, token: step.value.token });
    // Lets other requests (statistics) and the end of the parent be noticed between two tokens.
    await new Promise((resolve) => setImmediate(resolve));
  }
}

function opened(): Session {
  if (session === undefined) throw new Error("No model is open.");
  return session;
}

async function answer(request: Request): Promise<void> {
  const { id } = request;
  try {
    switch (request.type) {
      case "open":
        return send({ type: "done", id, result: open(id, request.open) });
      case "generate":
        return send({ type: "done", id, result: await run(id, opened(), request.generate) });
      case "tokenize": {
        const { special, text } = request;
        const tokens = opened().model.vocabulary.tokenize(text, { addSpecial: special, parseSpecial: special });
        return send({ type: "done", id, result: tokens });
      }
      case "statistics":
        return send({ type: "done", id, result: opened().statistics() });
      case "close":
        session?.dispose();
        session = undefined;
        tellProblem();
        send({ type: "done", id, result: undefined });
        process.disconnect();
        return;
      default:
        request satisfies never;
    }
  } catch (error) {
    send({ type: "failed", id, error: toPortable(error) });
  }
}

process.on("message", (message) => void answer(message as Request));
// The terminal sends Ctrl-C to the whole group; the parent decides what it means.
process.on("SIGINT", () => {});
process.on("disconnect", () => {
  session?.dispose();
  process.exit(0);
});
