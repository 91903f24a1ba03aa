/** Writes the image of a zone in slices, so that the thread does other things between them. The footer goes last and alone. */
import { PAGE_BYTES, type ZoneDevice } from "../device/zone-device.ts";

/** Large enough for a drive's full speed, small enough that preparing one blocks the thread for half a millisecond. */
export const SLICE_BYTES = 1 << 20;

/**
 * @param image a header page, pages, and a footer page: as long as the zone is
 * @param prepare is called before the pages from `first` to before `end` go out, 0 being the header
 * @param finish writes the footer into the image
 * @throws FlashError `read-only`
 */
export async function writeZone(
  device: ZoneDevice,
  zone: number,
  image: Uint8Array,
  prepare: (first: number, end: number) => void,
  finish: () => void,
): Promise<void> {
  if (device.written(zone) > 0) await device.reset(zone);
  const footer = image.length - PAGE_BYTES;
  // Two slices under way keep the drive busy while the next one is prepared.
  let older = Promise.resolve();
  let newer = Promise.resolve();
  for (let at = 0; at < footer; at += SLICE_BYTES) {
    const end = Math.min(at + SLICE_BYTES, footer);
    prepare(at / PAGE_BYTES, end / PAGE_BYTES);
    await older;
    older = newer;
    newer = device.append(zone, image.subarray(at, end));
    // Both are awaited, but an earlier failure may leave before.
    newer.catch(() => {});
  }
  await older;
  await newer;
  finish();
  await device.append(zone, image.subarray(footer));
}
