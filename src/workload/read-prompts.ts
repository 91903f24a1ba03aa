/**
 * Prompts out of a file, one after the other, in memory that does not grow with the file. What a record means is the
 * business of `prompt-shapes.ts`; this says on which line a bad one stands, and ends or goes on.
 */
import { createReadStream } from "node:fs";
import path from "node:path";
import { WorkloadError } from "./errors.ts";
import { type JsonRecord, JsonRecords } from "./json-records.ts";
import type { Prompt } from "./prompt.ts";
import { promptOf, UnusableRecord } from "./prompt-shapes.ts";

export interface ReadPromptsOptions {
  /** Label of prompts that have none of their own. @default the file's name without its ending */
  readonly domain?: string;
  /** Of a conversation: the user's first turn alone, or all turns up to the user's last one. @default "first" */
  readonly turns?: "first" | "all";
  /** Called for a record that is no prompt, which is then skipped. @default it is an error */
  readonly onBadRecord?: (error: WorkloadError) => void;
  /** Ends the reading. */
  readonly signal?: AbortSignal;
}

const CHUNK_BYTES = 2 ** 20;
const LABEL_LENGTH = 100;

/**
 * Reads a file of one JSON record a line, or of one JSON list, in the shapes of ShareGPT, LMSYS-Chat-1M, or our own:
 * `{"id", "domain", "prompt" | "messages", "outputTokens"?, "arrivalMs"?}`. Which one, the records say.
 *
 * @throws WorkloadError `bad-record` (unless `onBadRecord`), `bad-file`, `unreadable`; the signal's reason
 */
export async function* readPrompts(file: string, options: ReadPromptsOptions = {}): AsyncGenerator<Prompt> {
  const { onBadRecord, turns = "first", domain = path.parse(file).name } = options;
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let records = 0;
  for await (const batch of recordsOf(file, options.signal))
    for (const record of batch) {
      records++;
      const { line, problem } = record;
      if (problem?.isEnd) throw new WorkloadError("bad-file", { file, line }, problem.text);
      let prompt: Prompt;
      try {
        const parsed = parse(record, decoder);
        prompt = promptOf(parsed, { domain: domain.slice(0, LABEL_LENGTH), id: `line ${line}`, turns });
      } catch (error) {
        if (!(error instanceof UnusableRecord)) throw error;
        const remedy = onBadRecord === undefined ? " Correct it, or skip bad records." : "";
        const bad = new WorkloadError("bad-record", { file, line }, `${error.message}${remedy}`);
        if (onBadRecord === undefined) throw bad;
        onBadRecord(bad);
        continue;
      }
      yield prompt;
    }
  if (records === 0) throw new WorkloadError("bad-file", { file }, "It has no prompts. Give a file with some.");
}

/** @throws UnusableRecord */
function parse({ bytes, problem }: JsonRecord, decoder: InstanceType<typeof TextDecoder>): unknown {
  if (problem !== undefined) throw new UnusableRecord(problem.text);
  let text: string;
  try {
    text = decoder.decode(bytes);
  } catch {
    throw new UnusableRecord("It is not UTF-8.");
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new UnusableRecord(`It is not JSON (${(error as Error).message}).`);
  }
}

/** Those of a chunk together: a step of an async iteration for each record would take longer than reading it. */
async function* recordsOf(file: string, signal: AbortSignal | undefined): AsyncGenerator<Iterable<JsonRecord>> {
  signal?.throwIfAborted();
  const records = new JsonRecords();
  const stream = createReadStream(file, { highWaterMark: CHUNK_BYTES, ...(signal === undefined ? {} : { signal }) });
  try {
    for await (const chunk of stream) yield records.push(chunk as Buffer);
  } catch (error) {
    signal?.throwIfAborted();
    if (typeof (error as NodeJS.ErrnoException).syscall !== "string") throw error;
    throw new WorkloadError("unreadable", { file }, `It cannot be read: ${(error as Error).message}.`, error);
  }
  yield records.end();
}
