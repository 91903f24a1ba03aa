/**
 * A cache for very many small values on flash: little RAM, few writes, and what lies on flash is found again after a restart or a
 * kill. `openFlashCache` opens one; engines and devices are here for those who put their own together, or measure.
 */
export {
  FlashCache,
  type FlashCacheOptions,
  type FlashCacheStats,
  type ReadOptions,
  type SetOptions,
} from "./cache/flash-cache.ts";
export { type OpenFlashCacheOptions, openFlashCache } from "./cache/open-flash-cache.ts";
export type { BlockDevice } from "./device/block-device.ts";
export { PageMappedFtl, type PageMappedFtlOptions } from "./device/page-mapped-ftl.ts";
export { type FdpPlacement, SimulatedFdp, type SimulatedFdpOptions } from "./device/simulated-fdp.ts";
export { SimulatedZns, type SimulatedZnsOptions } from "./device/simulated-zns.ts";
export { type DeviceCounters, PAGE_BYTES, type ZoneDevice } from "./device/zone-device.ts";
export type { EngineName, EngineStats, Fates, FlashEngine, RamBytes } from "./engine.ts";
export { FlashError, type FlashErrorKind } from "./errors.ts";
export { type FairywrenOptions, openFairywren } from "./fairywren/fairywren.ts";
export { type KangarooDevices, type KangarooOptions, openKangaroo } from "./kangaroo/kangaroo.ts";
export { type HashedKey, hashKey } from "./key-hash.ts";
export { type LogCacheOptions, openLogCache } from "./log-cache/log-cache.ts";
export { openNemo } from "./nemo/open.ts";
export type { Consistency, NemoOptions, WriteBack } from "./nemo/options.ts";
export { openSetCache, type SetCacheOptions } from "./set-cache/set-cache.ts";
