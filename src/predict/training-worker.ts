/** The program of a training thread, see `threads/task-worker.ts`. */
import { workerData } from "node:worker_threads";
import { serveTasks } from "../threads/task-worker.ts";
import { type HeadTask, type TrainedHead, type TrainingPlan, trainHead } from "./train-head.ts";
import type { TrainingSet } from "./training-set.ts";

export interface TrainingWorkerData {
  readonly set: TrainingSet;
  readonly plan: TrainingPlan;
}

const { set, plan } = workerData as TrainingWorkerData;
serveTasks<HeadTask, TrainedHead>((task, onTokens) => trainHead(set, task, plan, onTokens));
