/** Tuned routers as files: every form of delivery, read and written. No native code; what llama.cpp does is in `llama/`. */
export { type BaseModel, readBaseModel } from "./base-model.ts";
export { AdapterError, type AdapterErrorKind } from "./errors.ts";
export { type ExportForm, type ExportRouterOptions, type ExportSummary, exportRouter } from "./export-router.ts";
export { type LoraSummary, type WriteLoraOptions, writeLoraAdapter } from "./lora-file.ts";
export { type PatchSummary, patchModel, reversePatch, reversePatchPath, scaledGates } from "./patch-model.ts";
export type { GateValues, RouterArtifact, RouterReport } from "./router-artifact.ts";
export { readRouterFile } from "./router-file.ts";
export { writeRouterSafetensors } from "./router-safetensors.ts";
