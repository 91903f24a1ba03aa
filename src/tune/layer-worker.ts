/** The program of a tuning thread, see `threads/task-worker.ts`. */
import { workerData } from "node:worker_threads";
import { serveTasks } from "../threads/task-worker.ts";
import type { InputFiles } from "./captured-inputs.ts";
import { type LayerResult, type LayerTask, runLayerTask } from "./layer-tasks.ts";

const files = workerData as InputFiles;
serveTasks<LayerTask, LayerResult>((task, onTokens) => runLayerTask(files, task, onTokens));
