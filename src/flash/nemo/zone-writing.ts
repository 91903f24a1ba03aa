/**
 * Writes the image of a zone in bursts, so that the thread does other things between them. The footer goes last and alone. What
 * the pages between mean, its caller knows.
 */
import { PAGE_BYTES, type ZoneDevice } from "../device/zone-device.ts";
import { writeFrame, type ZoneFrame } from "../format/zone-frame.ts";

/** What other things go through in one go: large enough for a drive's full speed. */
export const SLICE_BYTES = 1 << 20;
/**
 * Prepared before the first of it goes out. Checksums take as long as the drive needs to write (0.25 ms a MiB), so slice by slice
 * the drive would wait for each; a burst keeps it busy, and blocks the thread for a millisecond.
 */
const BURST_BYTES = 4 * SLICE_BYTES;

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
  // One burst is under way while the next one is prepared.
  let older = Promise.resolve();
  for (let at = 0; at < footer; at += BURST_BYTES) {
    const end = Math.min(at + BURST_BYTES, footer);
    for (let page = Math.max(at, PAGE_BYTES); page < end; page += PAGE_BYTES) seal(page / PAGE_BYTES - 1, page);
    await older;
    older = device.append(zone, image.subarray(at, end));
    // It is awaited, but fails before.
    older.catch(() => {});
  }
  await older;
  writeFrame(image, footer, "footer", frame);
  await device.append(zone, image.subarray(footer));
}
