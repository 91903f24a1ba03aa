/**
 * What log-to-set write amplification ought to be, from sizes alone: for engines that let objects wait in a log until their set
 * is written (Nemo, arXiv 2603.09605, section 3; the exact passive model is ours). No hot and cold halves, no sharing of sets.
 */

export interface WriteModelSizes {
  /** Mean key + value, bytes. */
  readonly objectBytes: number;
  /** Share of the flash that is the log, 0 to 1. */
  readonly logShare: number;
  /** Share of the sets' flash that is kept for cleaning, 0 to 1. */
  readonly overprovisioning: number;
}

const SET_BYTES = 4096;

/** Objects that wait in a full log for one set. */
export function waitingObjects({ objectBytes, logShare, overprovisioning }: WriteModelSizes): number {
  const sets = (1 - logShare) * (1 - overprovisioning);
  return ((SET_BYTES / objectBytes) * logShare) / sets;
}

/** Bytes of sets written per byte moved from the log, when only objects at the log's end bring their set to be written. */
export function passiveLogToSetWa(sizes: WriteModelSizes): number {
  return SET_BYTES / sizes.objectBytes / (1 + waitingObjects(sizes));
}

/**
 * The same when cleaning rewrites sets as well, each with what waits for it: a write for the log's sake brings one object more than
 * a write for cleaning's. @param passiveShare set writes for the log's sake among all, 0 to 1
 */
export function logToSetWa(sizes: WriteModelSizes, passiveShare: number): number {
  return SET_BYTES / sizes.objectBytes / (passiveShare + waitingObjects(sizes));
}
