/** Expert maps: the store of past iterations, the searches for similar ones, and what policies see of them. */
export * from "./async-search.ts";
export type { Match } from "./best-matches.ts";
export {
  DEFAULT_CAPACITY,
  ExpertMapStore,
  type ExpertMapStoreOptions,
  type SharedStore,
} from "./expert-map-store.ts";
export { InlineSearch, type InlineSearchOptions } from "./inline-search.ts";
export { type MapShape, mapLength, NO_ROW, NO_TOKEN } from "./map-shape.ts";
export { MapStoreFileError, type MapStoreFileErrorReason } from "./map-store-file-error.ts";
export { BLEND_TEMPERATURE, type BlendInput, blendMatches } from "./neighbour-blend.ts";
export { MapRecorder, type MapRecorderOptions, type RecordedBatch, type RecordMode } from "./record-maps.ts";
export { loadStore, saveStore } from "./save-store.ts";
export { SemanticSearch } from "./semantic-search.ts";
export { decodeStore, type ExpectedStore, encodeStore } from "./store-bytes.ts";
export { type SearchCost, TimedSearch, type TimedSearchOptions } from "./timed-search.ts";
export { type Abandonment, TrajectorySearch, type TrajectorySearchOptions } from "./trajectory-search.ts";
export { MAP_ENCODINGS, type MapEncoding } from "./value-codes.ts";
export { WorkerSearch } from "./worker-search.ts";
