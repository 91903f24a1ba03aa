/** Lets one change of an engine happen at a time, in the order of the calls. Readers do not wait for it. */

export class OneWriter {
  #last: Promise<unknown> | undefined;

  /** Whether a change is under way: what a call would do at once must queue behind it. */
  get busy(): boolean {
    return this.#last !== undefined;
  }

  /** Does the job when all before it are done, whether they failed or not. */
  run<T>(job: () => Promise<T>): Promise<T> {
    const done = this.#last === undefined ? job() : this.#last.then(job, job);
    const settled: Promise<void> = done.then(
      () => this.#settle(settled),
      () => this.#settle(settled),
    );
    this.#last = settled;
    return done;
  }

  #settle(job: Promise<unknown>): void {
    if (this.#last === job) this.#last = undefined;
  }
}
