/**
 * One reading thread of the pread pool: takes queued requests out of the shared block, reads them to their address
 * and marks them done, until it is told to stop. It never touches the JavaScript heap of its owner.
 */
import { workerData } from "node:worker_threads";
import { adviseFile, lastErrno, POSIX_FADV_DONTNEED, pread } from "./libc.ts";
import { CONTROL, type PreadWorkerData, SLOT, STATE, WIDE } from "./pread-pool.ts";

const shared = workerData as PreadWorkerData;
const control = new Int32Array(shared.control);
const slots = new Int32Array(shared.slots);
const wide = new Float64Array(shared.wide);

/** Reads one request completely; -1 when done, else the errno (0: the file is shorter than it was). */
function readSlot(slot: number): number {
  const word = slot * SLOT.words;
  const fd = slots[word + SLOT.fd];
  const bytes = slots[word + SLOT.bytes];
  const offset = wide[slot * WIDE.words + WIDE.offset];
  const address = wide[slot * WIDE.words + WIDE.address];
  const expected = wide[slot * WIDE.words + WIDE.expected];
  let got = 0;
  while (got < expected) {
    const n = Number(pread(fd, address + got, bytes - got, offset + got));
    if (n < 0) {
      const errno = lastErrno();
      if (errno === 4 /* EINTR */) continue;
      return errno;
    }
    if (n === 0) return 0;
    got += n;
  }
  if (slots[word + SLOT.buffered] === 1) adviseFile(fd, offset, bytes, POSIX_FADV_DONTNEED);
  return -1;
}

for (;;) {
  // In this order: what was claimed had been submitted. Looked at the other way round, a thread that sleeps in between finds
  // more claimed than submitted, and claims a request that is not there yet: it reads an older one again and says it is done.
  const claimed = Atomics.load(control, CONTROL.claimed);
  const submitted = Atomics.load(control, CONTROL.submitted);
  if (Atomics.load(control, CONTROL.stop) === 1) break;
  if (claimed === submitted) {
    Atomics.wait(control, CONTROL.submitted, submitted);
    continue;
  }
  if (Atomics.compareExchange(control, CONTROL.claimed, claimed, claimed + 1) !== claimed) continue;
  const slot = (claimed >>> 0) % shared.depth;
  slots[slot * SLOT.words + SLOT.errno] = readSlot(slot);
  Atomics.store(slots, slot * SLOT.words + SLOT.state, STATE.done);
  Atomics.add(control, CONTROL.done, 1);
  Atomics.notify(control, CONTROL.done);
}
