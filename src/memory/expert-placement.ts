/**
 * Where experts lie in memory, worked out once from where they lie in the file: which pages each read fills and which
 * pages come and go with an expert. Pure arithmetic; it reserves nothing and moves nothing.
 *
 * Two layouts. *In the file's order* memory is congruent with the file, as llama.cpp mapped it: neighbours share pages,
 * and a slice starts anywhere within 2 MiB. In *slots* all matrices of an expert lie one behind the other from a 2 MiB
 * border on, in pages of nobody else. Slots need matrices of whole pages (the distance between two experts is one number
 * per tensor, so all must start at the same place within a page), which all but toy models have. They are worth it
 * because their huge pages stay whole when they move to another expert: asking for 1 MiB of direct reads takes the thread
 * 18 us instead of 72, and they come at 2.3 GB/s instead of 1.0 (`npm run bench:pages`).
 */
import type { ModelFile, SlicePlace } from "./expert-memory.ts";
import { ceilTo, coveringPages, floorTo, ownPages } from "./page-plan.ts";

export const HUGE_PAGE_BYTES = 2 << 20;

/** Kind of a piece in huge pages; those of small ones have 0. */
const PIECE_HUGE = 1;

/**
 * All by key (`layer * expertsPerLayer + expert`) times `stages` or `pieces`. A stage is one matrix; a piece is a range
 * of pages that belongs to one expert alone, and moves or is given back as one.
 */
export interface ExpertPlacement {
  readonly stages: number;
  readonly pieces: number;
  readonly keys: number;
  readonly files: readonly ModelFile[];
  /** [key][stage] Index into the files. */
  readonly readFile: Uint16Array;
  /** [key][stage] First byte to read, on a page. */
  readonly readOffset: Float64Array;
  /** [key][stage] Whole pages; 0 where the layer has fewer matrices. */
  readonly readBytes: Float64Array;
  /** [key][stage] Where they go. */
  readonly readAddress: Float64Array;
  /** [key][piece] */
  readonly pieceAddress: Float64Array;
  /** [key][piece] Whole pages; may be 0. */
  readonly pieceBytes: Float64Array;
  /**
   * [key][piece] Its pages go to a piece of the same kind only: small pages in a huge page's place would stay small for
   * ever.
   */
  readonly pieceKind: Uint8Array;
  /** [key][piece] 1: ask for huge pages when it is filled for the first time. */
  readonly wantsHugePages: Uint8Array;
  /** By layer and stage, where a tensor's data begins and how far apart its experts are. Slots only. */
  readonly tensors: readonly (readonly TensorPlace[])[];
  /** Ranges that must not become huge pages by themselves: one would reach into experts that are not there. */
  readonly smallPageRanges: readonly { readonly address: number; readonly bytes: number }[];
}

/** What a weight tensor must be told. */
export interface TensorPlace {
  readonly address: number;
  /** `nb[2]`. */
  readonly expertStrideBytes: number;
}

/** Experts where llama.cpp mapped them: address = base of the file + offset. */
export function placeInFile(
  files: readonly ModelFile[],
  layers: readonly (readonly SlicePlace[])[],
  expertsPerLayer: number,
  pageBytes: number,
): ExpertPlacement {
  const stages = Math.max(...layers.map((slices) => slices.length));
  const placement = emptyPlacement(files, layers.length, expertsPerLayer, stages, stages);
  for (const [layer, slices] of layers.entries())
    for (const [stage, { file, offset, strideBytes }] of slices.entries())
      for (let expert = 0; expert < expertsPerLayer; expert++) {
        const start = offset + expert * strideBytes;
        const cover = coveringPages(start, strideBytes, pageBytes);
        const own = ownPages(start, strideBytes, pageBytes);
        const at = (layer * expertsPerLayer + expert) * stages + stage;
        placement.readFile[at] = file;
        placement.readOffset[at] = cover.start;
        placement.readBytes[at] = cover.end - cover.start;
        placement.readAddress[at] = files[file].base + cover.start;
        placement.pieceAddress[at] = files[file].base + own.start;
        placement.pieceBytes[at] = own.end - own.start;
        // Only with a page shared with a neighbour on either side: else the neighbours' ranges would become one
        // mapping, and a huge page could reach into an expert that is not there.
        const ownBytes = own.end - own.start;
        const alone = cover.end - cover.start === ownBytes + 2 * pageBytes;
        placement.wantsHugePages[at] = ownBytes >= 2 * HUGE_PAGE_BYTES && alone ? 1 : 0;
      }
  const smallPageRanges = layers.flat().map(({ file, offset, strideBytes }) => {
    const pages = coveringPages(offset, strideBytes * expertsPerLayer, pageBytes);
    return { address: files[file].base + pages.start, bytes: pages.end - pages.start };
  });
  return { ...placement, smallPageRanges };
}

/** How slots would lie: pure sizes, before there is memory for them. */
export interface SlotPlan {
  /** Address space for all experts, from a 2 MiB border on. */
  readonly bytes: number;
  /** By layer: distance between two experts. */
  readonly slotBytes: readonly number[];
  /** By layer: pages that an expert takes, at most a page per matrix more than its bytes. */
  readonly usedBytes: readonly number[];
}

/** Undefined when a matrix is not a whole number of pages: such a model stays in the file's order. */
export function planSlots(
  layers: readonly (readonly SlicePlace[])[],
  expertsPerLayer: number,
  pageBytes: number,
): SlotPlan | undefined {
  if (layers.some((slices) => slices.some(({ strideBytes }) => strideBytes % pageBytes !== 0))) return undefined;
  const usedBytes = layers.map((slices) => slices.reduce((sum, slice) => sum + slotPart(slice, pageBytes), 0));
  const slotBytes = usedBytes.map((bytes) => (bytes < HUGE_PAGE_BYTES ? bytes : ceilTo(bytes, HUGE_PAGE_BYTES)));
  const bytes = slotBytes.reduce((sum, slot) => ceilTo(sum, HUGE_PAGE_BYTES) + slot * expertsPerLayer, 0);
  return { bytes, slotBytes, usedBytes };
}

/** Pages of one matrix: one more than its bytes when it starts within a page. */
function slotPart({ offset, strideBytes }: SlicePlace, pageBytes: number): number {
  return strideBytes + (offset % pageBytes === 0 ? 0 : pageBytes);
}

/** @param base on a 2 MiB border, with `plan.bytes` of reserved memory. */
export function placeInSlots(
  files: readonly ModelFile[],
  layers: readonly (readonly SlicePlace[])[],
  expertsPerLayer: number,
  pageBytes: number,
  plan: SlotPlan,
  base: number,
): ExpertPlacement {
  const stages = Math.max(...layers.map((slices) => slices.length));
  const placement = emptyPlacement(files, layers.length, expertsPerLayer, stages, 2);
  const tensors: TensorPlace[][] = [];
  let layerStart = base;
  for (const [layer, slices] of layers.entries()) {
    const slotBytes = plan.slotBytes[layer];
    const used = plan.usedBytes[layer];
    const hugeBytes = floorTo(used, HUGE_PAGE_BYTES);
    let part = 0;
    const places: TensorPlace[] = [];
    for (const [stage, slice] of slices.entries()) {
      const { file, offset, strideBytes } = slice;
      const within = offset % pageBytes;
      places.push({ address: layerStart + part + within, expertStrideBytes: slotBytes });
      for (let expert = 0; expert < expertsPerLayer; expert++) {
        const at = (layer * expertsPerLayer + expert) * stages + stage;
        placement.readFile[at] = file;
        placement.readOffset[at] = offset - within + expert * strideBytes;
        placement.readBytes[at] = slotPart(slice, pageBytes);
        placement.readAddress[at] = layerStart + expert * slotBytes + part;
      }
      part += slotPart(slice, pageBytes);
    }
    for (let expert = 0; expert < expertsPerLayer; expert++) {
      const at = (layer * expertsPerLayer + expert) * 2;
      const slot = layerStart + expert * slotBytes;
      placement.pieceAddress[at] = slot;
      placement.pieceBytes[at] = hugeBytes;
      placement.pieceKind[at] = PIECE_HUGE;
      placement.wantsHugePages[at] = 1;
      placement.pieceAddress[at + 1] = slot + hugeBytes;
      placement.pieceBytes[at + 1] = used - hugeBytes;
    }
    tensors.push(places);
    layerStart = ceilTo(layerStart + slotBytes * expertsPerLayer, HUGE_PAGE_BYTES);
  }
  return { ...placement, tensors, smallPageRanges: [{ address: base, bytes: plan.bytes }] };
}

/** Bytes of pages over bytes of experts, minus one: what pages that are filled in part add to an expert at most. */
export function paddingShare(layers: readonly (readonly SlicePlace[])[], plan: SlotPlan): number {
  return Math.max(
    ...layers.map((slices, layer) => {
      const bytes = slices.reduce((sum, { strideBytes }) => sum + strideBytes, 0);
      return plan.usedBytes[layer] / bytes - 1;
    }),
  );
}

function emptyPlacement(
  files: readonly ModelFile[],
  layers: number,
  expertsPerLayer: number,
  stages: number,
  pieces: number,
): ExpertPlacement {
  const keys = layers * expertsPerLayer;
  return {
    stages,
    pieces,
    keys,
    files,
    readFile: new Uint16Array(keys * stages),
    readOffset: new Float64Array(keys * stages),
    readBytes: new Float64Array(keys * stages),
    readAddress: new Float64Array(keys * stages),
    pieceAddress: new Float64Array(keys * pieces),
    pieceBytes: new Float64Array(keys * pieces),
    pieceKind: new Uint8Array(keys * pieces),
    wantsHugePages: new Uint8Array(keys * pieces),
    tensors: [],
    smallPageRanges: [],
  };
}
