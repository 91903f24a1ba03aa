import { describe, expect, it } from "vitest";
import { strftime } from "./strftime.ts";

describe("strftime", () => {
  const date = new Date(2026, 10, 5, 15, 4, 9);

  it.each([
    ["%Y-%m-%d", "2026-11-05"],
    ["%d %B %Y", "05 November 2026"],
    ["%A, %b %e", "Thursday, Nov  5"],
    ["%a %-d %y", "Thu 5 26"],
    ["%H:%M:%S", "15:04:09"],
    ["%I:%M %p", "03:04 PM"],
    ["%-I %-M", "3 4"],
    ["%F %T", "2026-11-05 15:04:09"],
    ["100%% %Q", "100% %Q"],
  ])("%s", (format, text) => {
    expect(strftime(date, format)).toBe(text);
  });

  it("has a twelve at noon and at midnight, and keeps a single zero", () => {
    expect(strftime(new Date(2026, 0, 1, 0), "%I %p %-H")).toBe("12 AM 0");
    expect(strftime(new Date(2026, 0, 1, 12), "%I %p")).toBe("12 PM");
  });
});
