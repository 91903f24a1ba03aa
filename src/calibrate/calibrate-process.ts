/** The program of the process that measures: a message on its stdin, the figures on its stdout. Nothing else runs there. */
import { readMessage, writeResult } from "../bench/child-message.ts";
import { dieWithParent } from "../memory/libc.ts";
import type { CalibrationFigures, CalibrationJob } from "./calibrate.ts";
import { probeCompute } from "./compute-probe.ts";
import { probeDisk } from "./disk-probe.ts";
import { fitDrive } from "./fit.ts";

dieWithParent();
const { disk, compute } = readMessage() as CalibrationJob;
const probed = probeDisk(disk.file, disk.sliceBytes);
const probe = compute === undefined ? undefined : probeCompute(compute);
const fitted = probe === undefined ? probed : fitDrive(probed, probe.waits, probe.stages, probe.compute.engine);
const measured: CalibrationFigures = { disk: probed, fitted, compute: probe?.compute ?? null };
writeResult(measured);
