/** What keeps a machine from being measured. */

/** The process that measures has failed; `message` has its last words. */
export class CalibrationError extends Error {
  override readonly name = "CalibrationError";

  constructor(reason: string) {
    super(`This machine could not be measured: ${reason}. See what works here: warmset doctor`);
  }
}
