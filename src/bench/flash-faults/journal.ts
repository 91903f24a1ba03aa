/**
 * What a process tells before it is killed: lines that it appends to a file with one system call each, before or after the thing
 * itself as the line says, so that what was told survives whatever becomes of it. Whether it was true is for the ledger to judge.
 *
 *     o 12.5            opened, in ms
 *     g 7:100,9:0       keys that were found, and in which version
 *     s                 every key was asked for
 *     b 200 p7,d9       about to put and delete these keys, as version 200 and following
 *     w 3 1             about to write to zone (or block) 3; 1: at its begin
 *     f 231 1400        what was done up to version 231 was flushed, and said so; before that a kill had lost 1,400 bytes
 *     k 7:200           found after that flush, of what changed since the one before
 *     c, C              about to close; closed
 *     x text            something is wrong
 */
import fs from "node:fs";

export interface Seen {
  readonly key: number;
  readonly version: number;
}

export interface Change {
  readonly key: number;
  readonly isDelete: boolean;
}

export type JournalLine =
  | { readonly what: "opened"; readonly ms: number }
  | { readonly what: "found" | "kept"; readonly seen: readonly Seen[] }
  | { readonly what: "swept" | "closing" | "closed" }
  | { readonly what: "changing"; readonly version: number; readonly changes: readonly Change[] }
  | { readonly what: "writing"; readonly place: number; readonly atBegin: boolean }
  | { readonly what: "flushed"; readonly version: number; readonly unsavedBytes: number }
  | { readonly what: "wrong"; readonly text: string };

export class JournalWriter {
  readonly #fd: number;

  constructor(fd: number) {
    this.#fd = fd;
  }

  tell(line: JournalLine): void {
    fs.writeSync(this.#fd, `${textOf(line)}\n`);
  }
}

/** Without a last line that was cut off: what it told of had not begun. */
export function readJournal(file: string): JournalLine[] {
  return fs
    .readFileSync(file, "latin1")
    .split("\n")
    .slice(0, -1)
    .map((text) => lineOf(text));
}

const WORDS = { s: "swept", c: "closing", C: "closed" } as const;

function textOf(line: JournalLine): string {
  switch (line.what) {
    case "opened":
      return `o ${line.ms}`;
    case "found":
    case "kept":
      return `${line.what === "found" ? "g" : "k"} ${line.seen.map(({ key, version }) => `${key}:${version}`).join()}`;
    case "changing":
      return `b ${line.version} ${line.changes.map(({ key, isDelete }) => `${isDelete ? "d" : "p"}${key}`).join()}`;
    case "writing":
      return `w ${line.place} ${line.atBegin ? 1 : 0}`;
    case "flushed":
      return `f ${line.version} ${line.unsavedBytes}`;
    case "wrong":
      return `x ${line.text.replaceAll("\n", " | ")}`;
    default:
      return Object.entries(WORDS).find(([, word]) => word === line.what)?.[0] ?? "";
  }
}

function lineOf(text: string): JournalLine {
  const [letter, first = "", second = ""] = text.split(" ", 3);
  const list = (words: string) => (words === "" ? [] : words.split(","));
  switch (letter) {
    case "o":
      return { what: "opened", ms: Number(first) };
    case "g":
    case "k": {
      const seen = list(first).map((word) => {
        const [key, version] = word.split(":").map(Number);
        return { key, version };
      });
      return { what: letter === "g" ? "found" : "kept", seen };
    }
    case "b": {
      const changes = list(second).map((word) => ({ key: Number(word.slice(1)), isDelete: word[0] === "d" }));
      return { what: "changing", version: Number(first), changes };
    }
    case "w":
      return { what: "writing", place: Number(first), atBegin: second === "1" };
    case "f":
      return { what: "flushed", version: Number(first), unsavedBytes: Number(second) };
    case "s":
    case "c":
    case "C":
      return { what: WORDS[letter] };
    default:
      return { what: "wrong", text: text.slice(2) };
  }
}
