/** What devices that lie in a cache's file have in common, whatever they make of its pages: what is known of it, and its end. */
import { FlashError } from "../errors.ts";
import type { CacheFile } from "./cache-file.ts";
import { noCounters } from "./zone-device.ts";

export abstract class CacheFileDevice {
  readonly counters = noCounters();
  protected readonly file: CacheFile;
  #closing: Promise<void> | undefined;

  constructor(file: CacheFile) {
    this.file = file;
  }

  get path(): string {
    return this.file.path;
  }

  get label(): string {
    return this.file.label;
  }

  /** False when the file was there before, and may hold something. */
  get created(): boolean {
    return this.file.created;
  }

  /** Past the page cache. */
  get direct(): boolean {
    return this.file.direct;
  }

  /** One sentence for each thing that is slower or less safe than it could be. */
  get downgrades(): readonly string[] {
    return this.file.downgrades;
  }

  async sync(): Promise<void> {
    this.checkOpen();
    await this.file.sync();
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.idle();
    await this.file.close();
  }

  /** Waits for what has still to be asked of the file. */
  protected async idle(): Promise<void> {}

  /** @throws FlashError `closed` */
  protected checkOpen(): void {
    if (this.#closing !== undefined) throw new FlashError("closed", `${this.path} was closed.`);
  }
}
