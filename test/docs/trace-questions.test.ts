/** The answers in docs/traces.md are what the commands print. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { answerOf, makeTraces, QUESTIONS_FILE, questionsOf } from "../../scripts/trace-questions.mjs";

const questions = questionsOf(readFileSync(QUESTIONS_FILE, "utf8"));

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), "warmset-questions-"));
  makeTraces(folder);
}, 60_000);
afterAll(() => rmSync(folder, { recursive: true }));

test("there are at least ten", () => expect(questions.length).toBeGreaterThanOrEqual(10));

test.each(questions.filter(({ trace }) => trace === "qwen"))("question %# of the recorded run", (question) => {
  expect(answerOf(folder, question)).toBe(question.answer);
});

// Another processor's kernels round differently, and now and then a router chooses another expert; the form stays.
test.each(questions.filter(({ trace }) => trace === "demo"))("question %# of the demo model", (question) => {
  const lines = answerOf(folder, question).split("\n");
  const shown = question.answer.split("\n");
  expect(lines[0].split(/ +/)).toEqual(shown[0].split(/ +/));
  expect(lines.length).toBe(shown.length);
});
