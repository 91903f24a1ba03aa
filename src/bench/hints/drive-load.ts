/** Reads a model file as the engine reads experts, without an end: the load beside which stores are looked into. */
import { statSync } from "node:fs";
import { dieWithParent } from "../../memory/libc.ts";
import { readMessage } from "../child-message.ts";
import { planProbe, probeDevice } from "../device-probe.ts";

dieWithParent();
const { modelPath } = readMessage() as { readonly modelPath: string };
const { size } = statSync(modelPath);
for (let seed = 1; ; seed++) probeDevice(modelPath, planProbe(size, { pattern: "slices", depth: 16, seed }));
