/**
 * Pure arithmetic between bytes of a file and pages of memory: which pages a slice needs, which of them are its own,
 * and how a read is cut into requests. Memory is congruent with the file (address = base + offset, base on a page),
 * so every figure here is a file offset.
 */

export interface PageRange {
  readonly start: number;
  /** Exclusive. */
  readonly end: number;
}

/** All pages that hold a byte of [offset, offset + bytes), the first and last often shared with a neighbour. */
export function coveringPages(offset: number, bytes: number, pageBytes: number): PageRange {
  return { start: floorTo(offset, pageBytes), end: ceilTo(offset + bytes, pageBytes) };
}

/**
 * The pages that hold nothing but [offset, offset + bytes): only these may be evicted. A page shared with a neighbour
 * stays, and reading it again with either owner writes the same bytes. Empty (start = end) for slices under a page.
 */
export function ownPages(offset: number, bytes: number, pageBytes: number): PageRange {
  const start = ceilTo(offset, pageBytes);
  return { start, end: Math.max(start, floorTo(offset + bytes, pageBytes)) };
}

/** Merges ranges after rounding them outward to pages, so that no page is read twice. Input sorted by start. */
export function mergeToPages(ranges: readonly PageRange[], pageBytes: number): PageRange[] {
  const merged: { start: number; end: number }[] = [];
  for (const range of ranges) {
    if (range.end <= range.start) continue;
    const pages = coveringPages(range.start, range.end - range.start, pageBytes);
    const last = merged.at(-1);
    if (last !== undefined && pages.start <= last.end) last.end = Math.max(last.end, pages.end);
    else merged.push({ ...pages });
  }
  return merged;
}

/**
 * Bytes that stay in memory for ever once an expert tensor was used: pages shared by two experts, or by an expert and
 * its surroundings. `experts` slices of `strideBytes` from `offset` on.
 */
export function sharedEdgeBytes(offset: number, strideBytes: number, experts: number, pageBytes: number): number {
  const all = coveringPages(offset, strideBytes * experts, pageBytes);
  let own = 0;
  for (let e = 0; e < experts; e++) {
    const range = ownPages(offset + e * strideBytes, strideBytes, pageBytes);
    own += range.end - range.start;
  }
  return all.end - all.start - own;
}

export function floorTo(value: number, unit: number): number {
  return Math.floor(value / unit) * unit;
}

export function ceilTo(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit;
}
