/** The program of a tuning thread, see `threads/task-worker.ts`. */
import { workerData } from "node:worker_threads";
import { serveTasks } from "../threads/task-worker.ts";
import type { InputFiles } from "./captured-inputs.ts";
import { type LayerResult, type LayerTask, LayerTasks } from "./layer-tasks.ts";

const tasks = new LayerTasks(workerData as InputFiles);
serveTasks<LayerTask, LayerResult>((task, onTokens) => tasks.run(task, onTokens));
