/**
 * The program of a contender's process: one message on stdin, one result on stdout. Each contender's code is imported
 * only when it is the one, so that neither pays for the other's start.
 */
import { dieWithParent } from "../memory/libc.ts";
import { readMessage, writeResult } from "./child-message.ts";
import type { ContenderMessage, ContenderRun } from "./contender-protocol.ts";

// A bench that is killed outright cannot end its children.
dieWithParent();
const { job, startedAtEpochMs } = readMessage() as ContenderMessage;
let run: ContenderRun;
if (job.system === "llama.cpp") run = (await import("./stock.ts")).runStock(job, startedAtEpochMs);
else run = (await import("./warmset.ts")).runWarmset(job, startedAtEpochMs);
writeResult(run);
