/**
 * Writes the image of a zone in slices, so that the thread does other things between them. The footer goes last and alone. What
 * the pages between mean, its caller knows.
 */
import { PAGE_BYTES, type ZoneDevice } from "../device/zone-device.ts";
import { writeFrame, type ZoneFrame } from "../format/zone-frame.ts";

/** Large enough for a drive's full speed, small enough that preparing one blocks the thread for half a millisecond. */
export const SLICE_BYTES = 1 << 20;

/**
 * @param image room for a header page, pages, and room for a footer page: as long as the zone is
 * @param seal is called for each page between, 0 being the first, before it goes out; `at` is where it begins in the image
 * @throws FlashError `read-only`
 */
export async function writeZone(
  device: ZoneDevice,
  zone: number,
  image: Uint8Array,
  frame: ZoneFrame,
  seal: (page: number, at: number) => void,
): Promise<void> {
  if (device.written(zone) > 0) await device.reset(zone);
  const footer = image.length - PAGE_BYTES;
  writeFrame(image, 0, "header", frame);
  // Two slices under way keep the drive busy while the next one is prepared.
  let older = Promise.resolve();
  let newer = Promise.resolve();
  for (let at = 0; at < footer; at += SLICE_BYTES) {
    const end = Math.min(at + SLICE_BYTES, footer);
    for (let page = Math.max(at, PAGE_BYTES); page < end; page += PAGE_BYTES) seal(page / PAGE_BYTES - 1, page);
    await older;
    older = newer;
    newer = device.append(zone, image.subarray(at, end));
    // Both are awaited, but an earlier failure may leave before.
    newer.catch(() => {});
  }
  await older;
  await newer;
  writeFrame(image, footer, "footer", frame);
  await device.append(zone, image.subarray(footer));
}
