/** Cuts chunks of bytes into lines without copying more than those that two chunks share. */
import { WorkloadError } from "../../../workload/errors.ts";

/** A row is a key of at most a few hundred bytes and some numbers; a longer line means that this is no trace. */
export const MAX_LINE_BYTES = 4096;
const NEWLINE = 0x0a;
const RETURN = 0x0d;
const NOTHING = new Uint8Array();

export class LineCutter {
  readonly #file: string;
  #chunk: Uint8Array = NOTHING;
  #at = 0;
  /** Begin of a line whose end is in a chunk to come. */
  #begun: Uint8Array = NOTHING;
  #line = 0;

  constructor(file: string) {
    this.#file = file;
  }

  /** Number of the line last taken, from 1 on. */
  get line(): number {
    return this.#line;
  }

  /** The chunk must stay as it is until its lines are taken; all lines of the one before must be. */
  push(chunk: Uint8Array): void {
    this.#chunk = chunk;
    this.#at = 0;
  }

  /** The next line without its end; undefined when there is no whole one. Valid until `push`. @throws WorkloadError `bad-file` */
  take(): Uint8Array | undefined {
    const end = this.#chunk.indexOf(NEWLINE, this.#at);
    const rest = this.#chunk.subarray(this.#at, end === -1 ? undefined : end);
    if (this.#begun.length + rest.length > MAX_LINE_BYTES) this.#fail();
    if (end === -1) {
      if (rest.length > 0) this.#begun = Buffer.concat([this.#begun, rest]);
      this.push(NOTHING);
      return undefined;
    }
    this.#at = end + 1;
    return this.#whole(rest);
  }

  /** The last line, when the file does not end it; undefined when it does. */
  takeLast(): Uint8Array | undefined {
    return this.#begun.length === 0 ? undefined : this.#whole(NOTHING);
  }

  #whole(rest: Uint8Array): Uint8Array {
    const line = this.#begun.length === 0 ? rest : Buffer.concat([this.#begun, rest]);
    this.#begun = NOTHING;
    this.#line++;
    return line.at(-1) === RETURN ? line.subarray(0, -1) : line;
  }

  #fail(): never {
    const place = { file: this.#file, line: this.#line + 1 };
    throw new WorkloadError("bad-file", place, `It is longer than ${MAX_LINE_BYTES} bytes: this is no trace of rows.`);
  }
}
