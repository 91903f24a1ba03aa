/**
 * A file of a cache carried from one killed process to the next: starts a life, kills it or lets it kill itself in the middle of a
 * write, reads its journal and judges it. What one life leaves is what the next one opens; now and then the file is a new one.
 */
import { spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { compiledModule } from "../../compiled-module.ts";
import { setNumberOf } from "../../flash/key-hash.ts";
import { HEADER_BLOCKS } from "../../flash/set-cache/header-block.ts";
import { Randomness } from "../../predict/randomness.ts";
import { type CompletedZones, readCompletedZones } from "./completed-zones.ts";
import { type JournalLine, readJournal } from "./journal.ts";
import { Ledger } from "./ledger.ts";
import type { LifeMessage, LifeStage } from "./life.ts";
import { type FaultEngine, keysFor, objectZones, randomSubject, type Subject } from "./subject.ts";
import { keyOf } from "./written-values.ts";

export interface KillRunOptions {
  readonly engine: FaultEngine;
  readonly kills: number;
  /** Made, and emptied of its files. */
  readonly folder: string;
  readonly seed: number;
  /** Lives of one file. @default 25 */
  readonly killsPerFile?: number;
  /** Files with a process each. @default 1 */
  readonly filesAtOnce?: number;
  /** Of every file. @default one at random for each */
  readonly subject?: Subject;
  readonly signal?: AbortSignal;
  /** Called after each file's last life, with the file: it may do with it what it likes. */
  readonly onFile?: (file: string, subject: Subject, random: Randomness) => Promise<void>;
}

export interface KillFigures {
  kills: number;
  files: number;
  /** Killed by itself in the middle of a write; the others from outside, at some time. */
  killsInWrites: number;
  /** Killed before the file was open, before all was asked for, while closing. */
  killsWhileOpening: number;
  killsWhileAsking: number;
  killsWhileClosing: number;
  writes: number;
  changes: number;
  /** Objects that were compared with what may be seen. */
  seen: number;
  /** Objects that had to be found, of completed zones and acknowledged flushes, and were. */
  obliged: number;
  sweeps: number;
  flushes: number;
  /** Of nemo: completed zones that were read from the file itself, and live objects in them. */
  completedZones: number;
  inCompletedZones: number;
  /** Bytes in RAM just before a flush, at most: what a kill there would have lost. */
  mostUnsavedBytes: number;
  openMs: number[];
}

/** A life that was not killed after so long is stuck. Counted while this process runs: whoever stops both of them stops no clock. */
const STUCK_SECONDS = 60;
const KILLS_PER_FILE = 25;
/** Kills from outside come so long after the process has told a stage, at most. */
const MOST_WAIT_MS = 200;
/** Far more changes than a life makes. */
const VERSIONS_PER_LIFE = 2 ** 20;

/** @throws Error for anything wrong that was returned, anything lost, and any process that ended otherwise than killed */
export async function runKills(options: KillRunOptions): Promise<KillFigures> {
  const { engine, kills, folder, seed, killsPerFile = KILLS_PER_FILE, filesAtOnce = 1, signal, onFile } = options;
  const figures = noFigures();
  let left = kills;
  const carryFiles = async () => {
    while (left > 0) {
      const lives = Math.min(left, killsPerFile);
      left -= lives;
      const random = new Randomness(seed, engine.length, figures.files);
      const subject = options.subject ?? randomSubject(engine, random);
      const file = path.join(folder, `${engine}-${figures.files++}`);
      const carried = new CarriedFile(file, subject, figures, random);
      for (let i = 0; i < lives; i++) {
        signal?.throwIfAborted();
        await carried.live();
      }
      await onFile?.(file, subject, random);
      fs.rmSync(file);
    }
  };
  await Promise.all(Array.from({ length: filesAtOnce }, carryFiles));
  return figures;
}

class CarriedFile {
  readonly #file: string;
  readonly #journal: string;
  readonly #subject: Subject;
  readonly #figures: KillFigures;
  readonly #random: Randomness;
  readonly #ledger: Ledger;
  #lives = 0;
  /** The file may hold objects that were in RAM at a close. */
  #mayHoldCheckpoint = false;

  constructor(file: string, subject: Subject, figures: KillFigures, random: Randomness) {
    this.#file = file;
    this.#journal = `${file}.journal`;
    this.#subject = subject;
    this.#figures = figures;
    this.#random = random;
    this.#ledger =
      subject.engine === "set"
        ? new Ledger(Infinity, (key) => blockOfKey(subject, key))
        : new Ledger(objectZones(subject));
  }

  async live(): Promise<void> {
    const random = this.#random;
    const inWrite = random.next() < 0.6;
    const message: LifeMessage = {
      path: this.#file,
      subject: this.#subject,
      keys: keysFor(this.#subject),
      seed: Math.floor(random.next() * 2 ** 31),
      firstVersion: ++this.#lives * VERSIONS_PER_LIFE,
      doomed: inWrite
        ? { index: Math.floor(random.next() ** 2 * this.#mostWrites()), share: random.next() }
        : undefined,
    };
    const completed = this.#completedZones();
    const kill: OutsideKill = { since: random.next() < 0.3 ? "begun" : "asked", ms: random.next() ** 2 * MOST_WAIT_MS };
    await killedLife(message, this.#journal, inWrite ? undefined : kill);
    const lines = readJournal(this.#journal);
    fs.rmSync(this.#journal);
    try {
      this.#judge(lines, completed);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      const where = `life ${this.#lives} of ${this.#file} (${JSON.stringify(this.#subject)})`;
      throw new Error(`${where}, after ${lines.length} lines of its journal: ${why}`, { cause: error });
    }
    this.#count(lines, inWrite);
  }

  /** Enough to go round the zones a few times; to put every key of an engine that writes at each put. */
  #mostWrites(): number {
    if (this.#subject.engine === "set") return 2 * keysFor(this.#subject);
    return (this.#subject.engine === "log" ? 12 : 4) * this.#subject.zones;
  }

  #completedZones(): CompletedZones | undefined {
    const { engine, zoneBytes } = this.#subject;
    if (engine !== "nemo" || !fs.existsSync(this.#file)) return undefined;
    return readCompletedZones(this.#file, objectZones(this.#subject), zoneBytes);
  }

  #judge(lines: readonly JournalLine[], completed: CompletedZones | undefined): void {
    this.#ledger.killed();
    const before = { ...this.#ledger.figures };
    this.#ledger.read(lines, this.#mayHoldCheckpoint ? undefined : completed?.versions);
    const { figures } = this.#ledger;
    this.#figures.seen += figures.seen - before.seen;
    this.#figures.obliged += figures.obliged - before.obliged;
    this.#figures.sweeps += figures.sweeps - before.sweeps;
    this.#figures.flushes += figures.flushes - before.flushes;
    this.#figures.completedZones += completed?.zones ?? 0;
    this.#figures.inCompletedZones += completed?.versions.size ?? 0;
    const lastOpened = lines.findLastIndex((line) => line.what === "opened");
    if (lastOpened >= 0) this.#mayHoldCheckpoint = false;
    if (lines.slice(lastOpened + 1).some((line) => line.what === "closing")) this.#mayHoldCheckpoint = true;
  }

  #count(lines: readonly JournalLine[], inWrite: boolean): void {
    const figures = this.#figures;
    figures.kills++;
    if (inWrite) figures.killsInWrites++;
    for (const line of lines) {
      if (line.what === "opened") figures.openMs.push(line.ms);
      else if (line.what === "writing") figures.writes++;
      else if (line.what === "changing") figures.changes += line.changes.length;
      else if (line.what === "flushed")
        figures.mostUnsavedBytes = Math.max(figures.mostUnsavedBytes, line.unsavedBytes);
    }
    const last = (what: JournalLine["what"]) => lines.findLastIndex((line) => line.what === what);
    if (last("closing") > last("opened")) {
      if (last("closed") > last("closing")) figures.killsWhileOpening++;
      else figures.killsWhileClosing++;
    } else if (last("opened") < 0) figures.killsWhileOpening++;
    else if (last("swept") < last("opened")) figures.killsWhileAsking++;
  }
}

interface OutsideKill {
  readonly since: LifeStage;
  readonly ms: number;
}

/** Starts a life and waits until it was killed. @param outside undefined: it kills itself */
async function killedLife(message: LifeMessage, journal: string, outside: OutsideKill | undefined): Promise<void> {
  const program = fileURLToPath(compiledModule(import.meta.url, "./life.js"));
  const fd = fs.openSync(journal, "a");
  const child = spawn(process.execPath, [program, JSON.stringify(message)], { stdio: ["ignore", "pipe", "pipe", fd] });
  fs.closeSync(fd);
  const kill = () => child.kill("SIGKILL");
  process.once("exit", kill);
  let stuck = false;
  let seconds = 0;
  const watch = setInterval(() => {
    stuck = ++seconds >= STUCK_SECONDS;
    if (stuck) kill();
  }, 1000);
  let timer: NodeJS.Timeout | undefined;
  let lastWords = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    lastWords += text;
  });
  child.stdout?.setEncoding("utf8").on("data", (told: string) => {
    if (outside !== undefined && told.includes(outside.since)) timer ??= setTimeout(kill, outside.ms);
  });
  const by = await new Promise<NodeJS.Signals | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (_, signal) => resolve(signal));
  });
  clearInterval(watch);
  clearTimeout(timer);
  process.removeListener("exit", kill);
  if (stuck) {
    const last = fs
      .readFileSync(journal, "latin1")
      .split("\n")
      .slice(-4)
      .map((line) => line.slice(0, 60));
    throw new Error(`a life did not reach its end after ${last.join(" / ")}: ${JSON.stringify(message)}`);
  }
  // One that ended by itself has told its journal why.
  if (by !== "SIGKILL" && lastWords !== "") throw new Error(`a life ended by itself: ${lastWords.trim()}`);
}

function blockOfKey({ zones, zoneBytes }: Subject, key: number): number {
  return HEADER_BLOCKS + setNumberOf(keyOf(key), (zones * zoneBytes) / 4096 - HEADER_BLOCKS);
}

function noFigures(): KillFigures {
  return {
    ...{ kills: 0, files: 0, killsInWrites: 0, killsWhileOpening: 0, killsWhileAsking: 0, killsWhileClosing: 0 },
    ...{ writes: 0, changes: 0, seen: 0, obliged: 0, sweeps: 0, flushes: 0, completedZones: 0, inCompletedZones: 0 },
    ...{ mostUnsavedBytes: 0, openMs: [] },
  };
}
