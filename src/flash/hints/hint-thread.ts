/** The thread that owns a store of hints: answers questions at once and writes one after the other, until it is told to stop. */
import { workerData } from "node:worker_threads";
import type { HintReply, HintRequest, HintThreadData } from "./hint-messages.ts";
import type { KeptHints } from "./kept-hints.ts";
import { openHints } from "./open-hints.ts";
import { HINT_BITS, SegmentCodec } from "./segment-hint.ts";
import { ThreadState } from "./thread-state.ts";

const data = workerData as HintThreadData;
const state = new ThreadState(data.state);
const { port } = data;

function send(reply: HintReply): void {
  port.postMessage(reply);
  state.answered();
}

function fail(error: unknown): void {
  send({ type: "problem", text: error instanceof Error ? error.message : String(error) });
  if (state.phase !== "stopped") state.phase = "failed";
}

async function serve(store: KeptHints): Promise<void> {
  /** Records wait for each other, so that one of the same key sees the one before. */
  let writing = Promise.resolve();
  const record = async (key: Uint8Array, observed: Uint8Array) => {
    await store.record(key, observed);
    if (store.readOnly !== undefined) throw new Error(store.readOnly);
  };
  const stop = async () => {
    await writing;
    send({ type: "stats", stats: store.stats() });
    await store.close();
    state.phase = "stopped";
    port.close();
  };
  port.on("message", (request: HintRequest) => {
    switch (request.type) {
      case "ask":
        store.lookUp(request.keys).then((hints) => send({ type: "answer", question: request.question, hints }), fail);
        return;
      case "record":
        writing = writing.then(() => record(request.key, request.observed)).catch(fail);
        return;
      case "stop":
        stop().catch(fail);
        return;
      default:
        request satisfies never;
    }
  });
}

try {
  const codec = new SegmentCodec(data, HINT_BITS);
  const { path, engine } = data;
  const store = await openHints({ path, engine, merge: (old, observed) => codec.merge(old, observed) });
  await serve(store);
  state.phase = "open";
} catch (error) {
  fail(error);
}
