/** The time of a replay. Nothing passes by itself: computing, handing over reads and waiting for them move it on. */

export class VirtualClock {
  /** Above 0, because `ExpertStream` takes 0 for "not yet". */
  ms = 1;
}
