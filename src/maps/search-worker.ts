/** The thread of `WorkerSearch`: serves contexts until it is told to stop, and sleeps while there are none. */
import { workerData } from "node:worker_threads";
import { ContextRing } from "./context-ring.ts";
import { ExpertMapStore } from "./expert-map-store.ts";
import { ForecastRing } from "./forecast-ring.ts";
import { SearchServer } from "./search-server.ts";
import { SearchState } from "./search-state.ts";
import type { SearchWorkerData } from "./worker-search.ts";

const data = workerData as SearchWorkerData;
const state = new SearchState(data.state);
try {
  const store = new ExpertMapStore(data.store.options, data.store);
  const contexts = new ContextRing(store.shape, data.queue, data.contexts);
  const forecasts = new ForecastRing(data.forecastShape, data.forecasts);
  const server = new SearchServer({ ...data.options, store }, contexts, forecasts, state);
  for (;;) {
    const bell = state.bell;
    const startMs = performance.now();
    const served = server.serve(0);
    if (served === "search") state.took(1000 * (performance.now() - startMs));
    if (served !== undefined) continue;
    if (state.stopAsked) break;
    state.waitForBell(bell);
  }
} catch (error) {
  state.fail(error instanceof Error ? error.message : String(error));
}
state.stopped();
