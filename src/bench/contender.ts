/**
 * The program of a contender's process: one message on stdin, one result on stdout. Each contender's code is imported
 * only when it is the one, so that neither pays for the other's start.
 */
import { readFileSync, writeSync } from "node:fs";
import type { ContenderMessage, ContenderRun } from "./contender-protocol.ts";

const { job, startedAtEpochMs }: ContenderMessage = JSON.parse(readFileSync(0, "utf8"));
let run: ContenderRun;
if (job.system === "llama.cpp") run = (await import("./stock.ts")).runStock(job, startedAtEpochMs);
else run = (await import("./warmset.ts")).runWarmset(job, startedAtEpochMs);
const line = Buffer.from(`${JSON.stringify(run)}\n`);
for (let done = 0; done < line.length; ) done += writeSync(1, line, done);
