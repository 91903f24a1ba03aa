/**
 * A `route_trace v1` file as a trace of ours. Every turn becomes a sample; the prompt's tokens keep the one batch that
 * computed them, decoded tokens are a batch each.
 */
import fs from "node:fs/promises";
import path from "node:path";
import type { RouteTraceHeader } from "./route-trace-file.ts";
import { moeBlocksOf, readTurns, type TurnItem } from "./route-trace-turns.ts";
import type { TraceDescription } from "./trace.ts";
import { TraceError } from "./trace-error.ts";
import { createTrace } from "./trace-writer.ts";

export interface ImportOptions {
  /** Label of all samples. Default: the file's name without its endings. */
  readonly domain?: string;
  readonly signal?: AbortSignal;
  /** Bytes of the file that were read, of those that will be: it is read twice. Default: nobody wants to know. */
  readonly onProgress?: (doneBytes: number, totalBytes: number) => void;
}

export interface ImportedTrace {
  readonly description: TraceDescription;
  readonly samples: number;
  readonly tokens: number;
}

/**
 * Reads the file twice, the first time to check it and to learn the longest turn, and writes a trace to `directory`.
 * @throws TraceError `bad-import` naming the line, `unreadable`, `exists`, `unwritable`
 */
export async function importRouteTrace(
  file: string,
  directory: string,
  { domain = path.basename(file).replace(/(\.route)?(\.csv)?(\.gz)?$/, ""), signal, onProgress }: ImportOptions = {},
): Promise<ImportedTrace> {
  const totalBytes = 2 * (await sizeOf(file));
  let doneBytes = 0;
  const items = () =>
    readTurns(file, (bytes) => {
      signal?.throwIfAborted();
      doneBytes += bytes;
      onProgress?.(doneBytes, totalBytes);
    });
  const facts = await survey(items());
  const description = describe(file, facts);
  await using writer = await createTrace(directory, description, { plannedSamples: facts.turns });
  for await (const item of items()) {
    if (item.kind === "begin") writer.beginSample(domain);
    else if (item.kind === "piece")
      await writer.append(facts.hasWeights ? item.piece : { ...item.piece, weights: undefined });
    else if (item.kind === "end") await writer.endSample();
  }
  await writer.finish();
  return { description, samples: writer.samples, tokens: writer.tokens };
}

/** What has to be known before the first sample is written. */
interface FileFacts {
  readonly header: RouteTraceHeader;
  readonly turns: number;
  readonly longestTurn: number;
  /** Prompt tokens for which the last layer was not computed. */
  readonly withoutLastLayer: number;
  readonly hasWeights: boolean;
}

async function survey(items: AsyncIterable<TurnItem>): Promise<FileFacts> {
  let header: RouteTraceHeader | undefined;
  let turns = 0;
  let longestTurn = 0;
  let length = 0;
  let withoutLastLayer = 0;
  let hasWeights = true;
  for await (const item of items) {
    if (item.kind === "header") header = item.header;
    if (item.kind === "begin") {
      turns++;
      length = 0;
    }
    if (item.kind !== "piece") continue;
    length += item.piece.length;
    longestTurn = Math.max(longestTurn, length);
    withoutLastLayer += item.withoutLastLayer;
    hasWeights &&= item.piece.weights.every(Number.isFinite);
  }
  return { header: header as RouteTraceHeader, turns, longestTurn, withoutLastLayer, hasWeights };
}

function describe(file: string, facts: FileFacts): TraceDescription {
  const { header, turns, longestTurn, withoutLastLayer, hasWeights } = facts;
  const blocks = moeBlocksOf(header);
  const denseBytes = header.denseBytes.reduce((sum, bytes) => sum + bytes, 0);
  return {
    format: "warmset-trace",
    schemaVersion: 1,
    model: {
      name: header.model.replace(/^.*\//, "").replace(/\.gguf$/, ""),
      architecture: header.architecture,
      hash: null,
      tokenizerHash: null,
      blocks: header.blocks,
      moeBlocks: blocks,
      experts: header.experts,
      expertsUsed: header.expertsUsed,
      sharedExperts: null,
      expertBytes: blocks.map((block) => header.expertBytes[block]),
      denseBytes: null,
      scoring: null,
    },
    recording: {
      recorder: "BigMoeOnEdge route_trace v1, imported by warmset",
      date: new Date().toISOString(),
      tokensFrom: ["forced", "generated"],
      sampleLength: longestTurn,
      start: null,
      notes: [
        `Imported from ${path.basename(file)}. The date is that of the import.`,
        `Dense weights of the blocks: ${denseBytes} bytes, without embeddings and output.`,
        "A prompt is one batch; the engine may have computed a long one in several.",
        ...(withoutLastLayer > 0
          ? [
              `${withoutLastLayer} prompt tokens have no experts in the last layer: the engine wanted the output of a prompt's last token only, so that the last block was not computed for the others.`,
            ]
          : []),
        ...(turns > 1
          ? [
              "Turns of a session are samples of their own: positions count from a turn's first token, and caches that restart at each sample forget what an earlier turn left behind.",
            ]
          : []),
        ...(hasWeights ? [] : ["The engine saw no weights of some experts, so weights were left out."]),
      ],
    },
    columns: { weights: hasWeights, probs: false, hiddenWidth: 0, tokens: false, predictions: false },
  };
}

async function sizeOf(file: string): Promise<number> {
  try {
    return (await fs.stat(file)).size;
  } catch (error) {
    throw new TraceError("unreadable", { file }, `cannot be read: ${(error as Error).message}.`, error);
  }
}
