import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { CommanderError } from "commander";
import { expect, test } from "vitest";
import { ModelError } from "../engine/protocol.ts";
import { describeFailure, EXIT, InterruptedError, OutputClosedError } from "./failure.ts";

const root = path.join(import.meta.dirname, "..");

/** Errors that cannot reach the command line, with the reason. */
const NOT_FOR_USERS: Readonly<Record<string, string>> = {
  AbortError: "an abort resolves, or rejects with the signal's own reason",
  DisposedError: "a mistake of ours",
  ModelClosedError: "a mistake of ours",
  NoRoomToInflateError: "only npm run bench:memory inflates models",
  PolicyDecisionError: "a mistake of a policy",
  TableMarkersError: "only npm run bench:memory writes into a README",
};

test("every error class of the project is explained, not called a mistake of ours", () => {
  const sources = readdirSync(root, { recursive: true, encoding: "utf8" }).filter(
    (file) => file.endsWith(".ts") && !file.includes(".test"),
  );
  const names = sources.flatMap((file) =>
    [...readFileSync(path.join(root, file), "utf8").matchAll(/override readonly name = "(\w+)"/g)].map(
      ([, name]) => name,
    ),
  );
  expect(names.length).toBeGreaterThan(20);
  const unexplained = names.filter((name) => {
    const error = new ModelError({ name, message: "m", stack: undefined, data: {} });
    return describeFailure(error, { verbose: false }).text?.includes("mistake in warmset") === true;
  });
  expect(unexplained.sort()).toEqual(Object.keys(NOT_FOR_USERS).sort());
});

test("errors of the model's process have the exit code of their name", () => {
  const code = (name: string) =>
    describeFailure(new ModelError({ name, message: "m", stack: undefined, data: {} }), { verbose: false }).exitCode;
  expect(code("BudgetTooSmallError")).toBe(EXIT.budgetTooSmall);
  expect(code("GgufError")).toBe(EXIT.modelUnusable);
  expect(code("constructor")).toBe(EXIT.failed);
});

test("unknown errors ask for a report and show where they come from", () => {
  const { exitCode, text } = describeFailure(new TypeError("x is not a function"), { verbose: false });
  expect(exitCode).toBe(EXIT.failed);
  expect(text).toMatch(/error: x is not a function\n.*report.*\n.*failure\.test\.ts/s);
});

test("errors of the file system are told as they are", () => {
  let error: unknown;
  try {
    readFileSync("/none");
  } catch (caught) {
    error = caught;
  }
  expect(describeFailure(error, { verbose: false })).toEqual({
    exitCode: EXIT.failed,
    text: "error: ENOENT: no such file or directory, open '/none'",
  });
});

test("what has been said already is not said again", () => {
  expect(describeFailure(new InterruptedError("SIGINT"), { verbose: true })).toEqual({
    exitCode: 130,
    text: undefined,
  });
  expect(describeFailure(new OutputClosedError(), { verbose: true })).toEqual({ exitCode: 0, text: undefined });
  expect(describeFailure(new CommanderError(0, "commander.help", ""), { verbose: true }).exitCode).toBe(0);
  expect(describeFailure(new CommanderError(1, "commander.unknownOption", ""), { verbose: true }).exitCode).toBe(2);
});
