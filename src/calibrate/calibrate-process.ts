/** The program of the process that measures: a message on its stdin, the figures on its stdout. Nothing else runs there. */
import { readMessage, writeResult } from "../bench/child-message.ts";
import { dieWithParent } from "../memory/libc.ts";
import type { CalibrationFigures, CalibrationJob } from "./calibrate.ts";
import { probeCompute } from "./compute-probe.ts";
import { probeDisk } from "./disk-probe.ts";

dieWithParent();
const { disk, compute } = readMessage() as CalibrationJob;
const measured: CalibrationFigures = {
  disk: probeDisk(disk.file, disk.sliceBytes),
  compute: compute === undefined ? null : probeCompute(compute),
};
writeResult(measured);
