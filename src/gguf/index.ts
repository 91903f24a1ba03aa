/**
 * GGUF model files: which bytes are where. Everything other folders use of `gguf/`; what is not here can change.
 */
export { GgufError, type GgufErrorReason, UnsupportedModelError } from "./errors.ts";
export {
  GgmlType,
  type GgmlTypeTraits,
  ggmlTypeTraits,
  isGgmlType,
  type TensorSize,
  tensorSize,
} from "./ggml-types.ts";
export type { MetadataLocation } from "./header.ts";
export type { GgufMetadata } from "./metadata.ts";
export { type CopyMetadataOptions, copyMetadata, type MetadataEntry } from "./metadata-entry.ts";
export {
  type DenseRange,
  type ExpertRole,
  type ExpertTensor,
  type MoeLayer,
  type MoeLayout,
  readMoeLayout,
  toModelShape,
} from "./moe-layout.ts";
export { type GgufFile, type GgufShard, type GgufTensor, openGguf } from "./open.ts";
export { type RouterTensors, type RouterWeights, readRouterWeights, routerTensors } from "./router-tensors.ts";
export { type ShardLimit, splitGguf } from "./split.ts";
export { copyTensor, readFloats, readTensor, streamTensor, type TensorRange } from "./tensor-data.ts";
export type { MetadataType, ScalarType } from "./value-types.ts";
export { type GgufContent, type TensorSource, type WriteGgufOptions, type WriteProgress, writeGguf } from "./write.ts";
