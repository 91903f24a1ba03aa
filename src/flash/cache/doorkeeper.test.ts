import { expect, test } from "vitest";
import { hashKey } from "../key-hash.ts";
import { Doorkeeper } from "./doorkeeper.ts";

const key = (number: number) => hashKey(Uint8Array.of(number, number >> 8, number >> 16, number >> 24));

test("a key is known the second time, for at least a turn", () => {
  const door = new Doorkeeper(1000);
  for (let i = 0; i < 500; i++) door.see(key(i));
  for (let i = 0; i < 500; i++) expect(door.see(key(i))).toBe(true);
  // The first filter fills and becomes the older one.
  for (let i = 10_000; i < 10_990; i++) door.see(key(i));
  for (let i = 0; i < 500; i++) expect(door.see(key(i))).toBe(true);
});

test("new keys are taken for known ones in less than 3 of 100 cases, with both filters full", () => {
  const door = new Doorkeeper(10_000);
  let wrong = 0;
  for (let i = 0; i < 100_000; i++) if (door.see(key(i))) wrong++;
  expect(wrong / 100_000).toBeLessThan(0.03);
});

test("keys seen two turns ago are forgotten", () => {
  const door = new Doorkeeper(1000);
  for (let i = 0; i < 3000; i++) door.see(key(i));
  let known = 0;
  for (let i = 0; i < 500; i++) if (door.see(key(i))) known++;
  expect(known).toBeLessThan(30);
});

test("its size is what it says, and sizes that make no sense are refused", () => {
  expect(new Doorkeeper(1000).ramBytes).toBe(2 * 4 * Math.ceil(10_000 / 32));
  expect(() => new Doorkeeper(0)).toThrow(expect.objectContaining({ kind: "bad-options" }));
});
