/** What can be wrong with prompts, mixes and arrival times. It names the file and the line where there is one. */

export type WorkloadErrorKind =
  /** One record of a file is not a prompt; the others may be. */
  | "bad-record"
  /** A file that has no prompts, or whose records cannot be told apart. */
  | "bad-file"
  /** The system refused to read. */
  | "unreadable"
  /** Fewer prompts than were asked for. */
  | "too-few"
  /** A setting that makes no sense. */
  | "option";

export interface WorkloadPlace {
  readonly file?: string;
  /** From 1 on. */
  readonly line?: number;
}

export class WorkloadError extends Error {
  override readonly name = "WorkloadError";
  readonly kind: WorkloadErrorKind;
  readonly place: WorkloadPlace;

  /** `sentence` says what is wrong and what to do next. */
  constructor(kind: WorkloadErrorKind, place: WorkloadPlace, sentence: string, cause?: unknown) {
    super(`${placeText(place)}${sentence}`, cause === undefined ? undefined : { cause });
    this.kind = kind;
    this.place = place;
  }
}

function placeText({ file, line }: WorkloadPlace): string {
  if (file === undefined) return "";
  return line === undefined ? `${file}: ` : `${file}, line ${line}: `;
}
