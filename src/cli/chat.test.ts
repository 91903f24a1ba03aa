import { expect, test } from "vitest";
import { STREAMING, said, start, warmset } from "./command-line.test-data.ts";

const chat = ["chat", "demo", ...STREAMING, "--seed", "3"];

test("each piped line is a question, and answers are all of stdout", async () => {
  const { exitCode, stdout, stderr } = await warmset(chat, {
    stdin: "Tell me a story about a cat.\n\n/stats\nAnd one about a dog.\n/exit\nnever asked\n",
  });
  expect(exitCode).toBe(0);
  expect(stdout.trimEnd().split("\n").length).toBe(2);
  expect(stdout).not.toContain(">");
  expect(stderr).toMatch(/speed .* tokens after a prompt of \d+; the model ended/);
});

test("the history is part of the next prompt, until it is cleared", async () => {
  const question = "Tell me a story.\n";
  const prompts = (stderr: string) =>
    [...stderr.matchAll(/after a prompt of (\d+)/g)].map(([, tokens]) => Number(tokens));
  const { stderr } = await warmset([...chat, "-n", "8"], {
    stdin: `${question}/stats\n${question}/stats\n/clear\n${question}/stats\n`,
  });
  const [first, second, third] = prompts(stderr);
  expect(second).toBeGreaterThan(first + 8);
  expect(third).toBe(first);
  expect(stderr).toContain("of it computed before");
});

test("old turns are forgotten before the context is full", async () => {
  const { exitCode, stdout, stderr } = await warmset([...chat, "-c", "256", "-n", "60"], {
    stdin: "Tell me a story about a cat.\n".repeat(6),
  });
  expect(exitCode).toBe(0);
  expect(stdout.trimEnd().split("\n").length).toBe(6);
  expect(stderr).toMatch(/turns? (was|were) forgotten to make room/);
});

test("a question that no context can hold is refused, and the chat goes on", async () => {
  const { exitCode, stdout, stderr } = await warmset([...chat, "-n", "3"], {
    stdin: `${"A long story. ".repeat(400)}\nTell me a story.\n`,
  });
  expect(exitCode).toBe(0);
  expect(stderr).toMatch(/context holds 512/);
  expect(stdout.trimEnd().split("\n").length).toBe(1);
});

test("commands are answered without the model", async () => {
  const { stdout, stderr } = await warmset(chat, { stdin: "/help\n/stats\n/frobnicate\n" });
  expect(stdout).toBe("");
  expect(stderr).toMatch(/\/clear.*Nothing was generated yet.*There is no \/frobnicate/s);
});

test("the first Ctrl-C stops the answer, the second one leaves", async () => {
  const { child, finished } = start([...chat, "--ignore-eos", "-c", "20000"], {
    stdin: "Tell me a story.\n",
    stdinStaysOpen: true,
  });
  await said(child.stdout, " ");
  child.kill("SIGINT");
  // The next question is answered: the chat goes on.
  child.stdin?.write("/clear\n");
  await said(child.stderr, "forgotten");
  child.kill("SIGINT");
  expect(await finished).toMatchObject({ exitCode: 130, stdout: expect.stringMatching(/\n$/) });
});

test("SIGTERM leaves at once", async () => {
  const { child, finished } = start([...chat, "--ignore-eos", "-c", "20000"], {
    stdin: "Tell me a story.\nAnother.\n",
  });
  await said(child.stdout, " ");
  child.kill("SIGTERM");
  expect(await finished).toMatchObject({ exitCode: 130 });
});
