import { Writable } from "node:stream";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { StatusLine } from "./status-line.ts";

beforeEach(() => void vi.useFakeTimers({ toFake: ["performance", "setInterval", "clearInterval"] }));
afterEach(() => void vi.useRealTimers());

function terminal(isTTY: boolean) {
  let text = "";
  const stream = new Writable({
    write(chunk, _encoding, done) {
      text += String(chunk);
      done();
    },
  });
  return { stream: Object.assign(stream, { isTTY, columns: 80 }) as unknown as NodeJS.WriteStream, text: () => text };
}

/** Two seconds of progress at 50 MB/s, told ten times a second. */
function load(status: StatusLine): void {
  for (let i = 0; i <= 20; i++) {
    // A part was done before the first word of it.
    status.progress("loading", 20e6 + i * 5e6, 220e6);
    vi.advanceTimersByTime(100);
  }
}

test("a terminal gets one line that is rewritten and erased", () => {
  const { stream, text } = terminal(true);
  const status = new StatusLine({ quiet: false, stream });
  load(status);
  expect(text()).toMatch(/\rl?.*loading \[###########\.{9}\] 114 MiB of 210 MiB, 50\.0 MB\/s, 2\.00 s left$/);
  expect(text()).not.toContain("\n");
  status.clear();
  expect(text().endsWith("\r\x1b[K")).toBe(true);
});

test("elsewhere it is a plain line now and then, and nothing for short work", () => {
  const { stream, text } = terminal(false);
  const status = new StatusLine({ quiet: false, stream });
  load(status);
  expect(text()).toBe("");
  vi.advanceTimersByTime(20_000);
  status.progress("loading", 165e6, 220e6);
  expect(text()).toMatch(/^loading: 75 %, 157 MiB of 210 MiB, [\d.]+ MB\/s, [\d.]+ s left\n$/);
});

test("what is not bytes is written in its own units", () => {
  const { stream, text } = terminal(false);
  const status = new StatusLine({ quiet: false, stream });
  const units = { amount: (n: number) => `${n} tokens`, rate: (n: number) => `${n.toFixed(0)} tokens/s` };
  status.progress("recording", 0, 1000, units);
  vi.advanceTimersByTime(6000);
  status.progress("recording", 600, 1000, units);
  expect(text()).toBe("recording: 60 %, 600 tokens of 1000 tokens, 100 tokens/s, 4.00 s left\n");
});

test("quiet is quiet", () => {
  const { stream, text } = terminal(true);
  const status = new StatusLine({ quiet: true, stream });
  load(status);
  status.waiting("computing");
  vi.advanceTimersByTime(5000);
  status.clear();
  expect(text()).toBe("");
});

test("waiting shows the time and stops with clear", () => {
  const { stream, text } = terminal(true);
  const status = new StatusLine({ quiet: false, stream });
  status.waiting("computing the prompt,");
  vi.advanceTimersByTime(3000);
  expect(text()).toContain("computing the prompt, 3.00 s");
  status.clear();
  const before = text();
  vi.advanceTimersByTime(3000);
  expect(text()).toBe(before);
});
