/**
 * Cuts a file of JSON records into its records, by bytes and as they come: one on each line, or the elements of one list,
 * which is what data sets of a gigabyte are. It knows where records begin and end and nothing of what is in them.
 */

export interface JsonRecord {
  /** Line on which the record begins, from 1 on. */
  readonly line: number;
  /** Empty when `problem` says why. */
  readonly bytes: Uint8Array;
  readonly problem?: {
    readonly text: string;
    /** Nothing behind the record can be told apart any more. */
    readonly isEnd: boolean;
  };
}

/** Conversations of the known data sets have a megabyte at most; beyond this a quote is missing somewhere. */
const MAX_RECORD_BYTES = 16 * 2 ** 20;
const NOTHING = new Uint8Array();

const [NEWLINE, QUOTE, COMMA, OPEN_LIST, ESCAPE, CLOSE_LIST, OPEN, CLOSE] = Buffer.from('\n",[\\]{}');

/** Records of the bytes given so far. A record's bytes stay as they are; chunks may be overwritten once `push` is done. */
export class JsonRecords {
  #cutter: LineCutter | ListCutter | undefined;
  #line = 1;
  #isFirst = true;

  *push(chunk: Uint8Array): Generator<JsonRecord> {
    const bytes = this.#isFirst ? withoutByteOrderMark(chunk) : chunk;
    this.#isFirst = false;
    let from = 0;
    // What the first sign is says which of the two it is.
    while (this.#cutter === undefined && from < bytes.length) {
      const byte = bytes[from];
      if (byte === NEWLINE) this.#line++;
      if (!isSpace(byte)) this.#cutter = byte === OPEN_LIST ? new ListCutter(this.#line) : new LineCutter(this.#line);
      if (!isSpace(byte) && byte !== OPEN_LIST) break;
      from++;
    }
    if (this.#cutter !== undefined) yield* this.#cutter.push(bytes.subarray(from));
  }

  *end(): Generator<JsonRecord> {
    if (this.#cutter !== undefined) yield* this.#cutter.end();
  }
}

/** The record under way, in the pieces in which it came. */
class OpenRecord {
  #pieces: Uint8Array[] = [];
  #length = 0;

  add(bytes: Uint8Array): void {
    this.#length += bytes.length;
    // A copy, because the chunk is the reader's; `slice` of a Buffer is none.
    if (this.#length <= MAX_RECORD_BYTES) this.#pieces.push(new Uint8Array(bytes));
    else this.#pieces = [];
  }

  get isTooLong(): boolean {
    return this.#length > MAX_RECORD_BYTES;
  }

  take(): Uint8Array {
    const all = this.#pieces.length === 1 ? this.#pieces[0] : Buffer.concat(this.#pieces);
    this.#pieces = [];
    this.#length = 0;
    return all;
  }
}

class LineCutter {
  readonly #open = new OpenRecord();
  #line: number;

  constructor(line: number) {
    this.#line = line;
  }

  *push(bytes: Uint8Array): Generator<JsonRecord> {
    let from = 0;
    for (let to = bytes.indexOf(NEWLINE); to >= 0; to = bytes.indexOf(NEWLINE, from)) {
      this.#open.add(bytes.subarray(from, to));
      yield* this.end();
      from = to + 1;
      this.#line++;
    }
    this.#open.add(bytes.subarray(from));
  }

  *end(): Generator<JsonRecord> {
    const { isTooLong } = this.#open;
    const bytes = this.#open.take();
    if (isTooLong) yield { line: this.#line, bytes, problem: { text: TOO_LONG, isEnd: false } };
    else if (!bytes.every(isSpace)) yield { line: this.#line, bytes };
  }
}

/** What stands between the commas of a list. */
class ListCutter {
  readonly #open = new OpenRecord();
  #line: number;
  /** Line of the record's first sign; 0 before that. */
  #begin = 0;
  #depth = 0;
  #inText = false;
  #isEscaped = false;
  #state: "open" | "closed" | "broken" = "open";

  constructor(line: number) {
    this.#line = line;
  }

  *push(bytes: Uint8Array): Generator<JsonRecord> {
    let from = 0;
    for (let i = 0; i < bytes.length && this.#state !== "broken"; i++) {
      const byte = bytes[i];
      if (byte === NEWLINE) this.#line++;
      if (this.#inText) {
        if (this.#isEscaped) this.#isEscaped = false;
        else if (byte === ESCAPE) this.#isEscaped = true;
        else if (byte === QUOTE) this.#inText = false;
        continue;
      }
      if (isSpace(byte)) continue;
      if (this.#state === "closed") return yield this.#broken(this.#line, "There is more behind the end of the list.");
      const isClosing = byte === CLOSE || byte === CLOSE_LIST;
      if (this.#depth === 0 && (byte === COMMA || isClosing)) {
        this.#open.add(bytes.subarray(from, i));
        yield* this.#record();
        from = i + 1;
        if (isClosing) this.#state = "closed";
        continue;
      }
      if (this.#begin === 0) {
        this.#begin = this.#line;
        from = i;
      }
      if (byte === QUOTE) this.#inText = true;
      else if (byte === OPEN || byte === OPEN_LIST) this.#depth++;
      else if (isClosing) this.#depth--;
    }
    if (this.#begin > 0) this.#open.add(bytes.subarray(from));
    if (this.#open.isTooLong && this.#state === "open") yield this.#broken(this.#begin, TOO_LONG);
  }

  *end(): Generator<JsonRecord> {
    if (this.#state === "open")
      yield this.#broken(
        this.#begin > 0 ? this.#begin : this.#line,
        "The list ends in the middle: the file is incomplete.",
      );
  }

  *#record(): Generator<JsonRecord> {
    const bytes = this.#open.take();
    // Behind a last comma there may be nothing.
    if (this.#begin > 0) yield { line: this.#begin, bytes };
    this.#begin = 0;
  }

  #broken(line: number, text: string): JsonRecord {
    this.#state = "broken";
    return { line, bytes: NOTHING, problem: { text, isEnd: true } };
  }
}

const TOO_LONG = `The record has more than ${MAX_RECORD_BYTES / 2 ** 20} MiB; a quote or a line end is missing.`;

function isSpace(byte: number): boolean {
  return byte === 0x20 || (byte >= 0x09 && byte <= 0x0d);
}

function withoutByteOrderMark(bytes: Uint8Array): Uint8Array {
  return bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? bytes.subarray(3) : bytes;
}
