/** The program of the process that measures: a message on its stdin, the figures on its stdout. Nothing else runs there. */
import { readMessage, writeResult } from "../bench/child-message.ts";
import { dieWithParent } from "../memory/libc.ts";
import type { CalibrationFigures, CalibrationJob } from "./calibrate.ts";
import { probeCompute } from "./compute-probe.ts";
import { probeDisk } from "./disk-probe.ts";

dieWithParent();
const { disk, compute } = readMessage() as CalibrationJob;
const drive = probeDisk(disk.file, disk.sliceBytes);
const probe = compute === undefined ? undefined : probeCompute(compute);
const measured: CalibrationFigures = {
  // The engine's own reads go to other pages than the probe's, which changes how many a queue holds.
  disk: { ...drive, reportsEvery: probe?.reportsEvery ?? drive.reportsEvery },
  compute: probe?.compute ?? null,
};
writeResult(measured);
