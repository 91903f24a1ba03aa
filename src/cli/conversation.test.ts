import { expect, test } from "vitest";
import { Conversation } from "./conversation.ts";

const withTurns = (...tokens: readonly number[]): Conversation => {
  const conversation = new Conversation();
  let context = 0;
  for (const [i, count] of tokens.entries()) {
    context += count;
    conversation.add(`question ${i}`, `answer ${i}`, context);
  }
  return conversation;
};

test("messages alternate, with the question at the end", () => {
  expect(withTurns(10).with("and now?")).toEqual([
    { role: "user", content: "question 0" },
    { role: "assistant", content: "answer 0" },
    { role: "user", content: "and now?" },
  ]);
});

test("the oldest turns go first, and only as many as needed", () => {
  const conversation = withTurns(40, 20, 10);
  expect(conversation.makeRoom(5, 100)).toBe(0);
  expect(conversation.makeRoom(6, 100)).toBe(1);
  expect(conversation.with("?")[0]).toEqual({ role: "user", content: "question 1" });
  expect(conversation.makeRoom(1000, 100)).toBe(2);
  expect(conversation.turns).toBe(0);
});

test("forgetting ends when there is nothing left", () => {
  const conversation = withTurns(10, 10);
  expect([conversation.forgetOldest(), conversation.forgetOldest(), conversation.forgetOldest()]).toEqual([
    true,
    true,
    false,
  ]);
});
