import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import type { ModelShape } from "../cache/shape.ts";
import { computeByBytes, computeMsOf } from "./compute-model.ts";
import { bestBytesPerSecond, plainDisk } from "./disk-model.ts";
import { type Calibration, EMPTY_PROFILE, type MeasuredCompute, machineFor, withCalibration } from "./profile.ts";
import { ProfileError, profilePath, readProfile, writeProfile } from "./profile-file.ts";
import { describedTrace, sampleOf } from "./traces.test-data.ts";

const shape: ModelShape = { layers: 2, experts: 8, expertsUsed: 2, expertBytes: [1e6, 1e6] };

function measured(modelPath: string, of: ModelShape, msPerToken: number, denseBytes: number): MeasuredCompute {
  return {
    ...{ modelPath, modelName: path.basename(modelPath), shape: of, denseBytes, threads: 2, msPerToken, spread: 0.02 },
    model: computeByBytes({ shape: of, denseBytes }, msPerToken),
    engine: { msPerStop: 0.04, msPerHandover: 0.1, msPerRequest: 0.02 },
    ...{ decodeTokens: 64, promptTokens: 128 },
  };
}

function calibration(date: string, bytesPerSecond: number, compute: MeasuredCompute | null): Calibration {
  const disk = { file: "/models", model: plainDisk({ bytesPerSecond }), probedBytesPerSecond: bytesPerSecond };
  return { date, warmset: "0.1.0", machine: "a processor, 2 cores", disk, compute };
}

/** The traced model, of the given shape. */
function traced({ experts, expertsUsed, expertBytes }: ModelShape, denseBytes: number | null = 6e6) {
  return describedTrace({ name: "traced", experts, expertsUsed, expertBytes, denseBytes }, [sampleOf([[[0]]])]).model;
}

describe("a machine for a trace", () => {
  const small = calibration("2026-11-20T10:00:00Z", 3e9, measured("/models/small.gguf", shape, 10, 6e6));
  const larger: ModelShape = { ...shape, expertBytes: [5e6, 5e6] };
  const large = calibration("2026-11-21T10:00:00Z", 2e9, measured("/models/large.gguf", larger, 40, 20e6));
  const profile = withCalibration(withCalibration(EMPTY_PROFILE, small), large);

  test("is what was measured with a model of the same shape, of whichever name", () => {
    const chosen = machineFor(traced(shape), profile);
    expect(chosen.compute).toMatchObject({ kind: "calibrated", date: small.date });
    expect(chosen.compute.text).toMatch(/10\.0 ms a token, measured 2026-11-20 with small\.gguf, 2 threads/);
    expect(chosen.disk.text).toMatch(/3\.00 GB\/s, measured 2026-11-20 on \/models/);
    expect(computeMsOf(chosen.machine.compute, shape, 1)).toBeCloseTo(10);
    expect(chosen.machine.engine.msPerStop).toBe(0.04);
  });

  test("is else the newest measurement in proportion to a token's weights", () => {
    const other: ModelShape = { layers: 3, experts: 4, expertsUsed: 1, expertBytes: [2e6, 2e6, 2e6] };
    const chosen = machineFor(traced(other, 4e6), profile);
    // 10 MB a token, where the measured model has 40.
    expect(computeMsOf(chosen.machine.compute, other, 1)).toBeCloseTo(10);
    expect(chosen.compute).toMatchObject({ kind: "scaled", date: large.date });
    expect(chosen.disk.text).toMatch(/2\.00 GB\/s, measured 2026-11-21/);
    expect(machineFor(traced(other, null), profile).compute.text).toMatch(
      /experts' bytes \(the trace knows no others\)/,
    );
  });

  test("is what was given, where something was", () => {
    const chosen = machineFor(traced(shape), profile, { diskBytesPerSecond: 5e8, computeMsPerToken: 77 });
    expect(bestBytesPerSecond(chosen.machine.disk)).toBe(5e8);
    expect(computeMsOf(chosen.machine.compute, shape, 1)).toBeCloseTo(77);
    expect([chosen.disk.kind, chosen.compute.kind]).toEqual(["given", "given"]);
  });

  test("is a guess that calls itself one when nothing was measured", () => {
    const chosen = machineFor(traced(shape), EMPTY_PROFILE);
    expect([chosen.disk.kind, chosen.compute.kind]).toEqual(["assumed", "assumed"]);
    expect(`${chosen.disk.text} ${chosen.compute.text}`).toMatch(/a guess.*calibrate.*a guess.*calibrate/);
  });

  test("has the drive of a calibration without a model, and guesses the rest", () => {
    const driveOnly = withCalibration(EMPTY_PROFILE, calibration("2026-11-22T00:00:00Z", 7e8, null));
    const chosen = machineFor(traced(shape), driveOnly);
    expect(bestBytesPerSecond(chosen.machine.disk)).toBe(7e8);
    expect([chosen.disk.kind, chosen.compute.kind]).toEqual(["calibrated", "assumed"]);
  });

  test("a new measurement takes the place of an older one of the same model", () => {
    const again = calibration("2026-11-23T10:00:00Z", 1e9, measured("/models/small.gguf", shape, 12, 6e6));
    const dates = withCalibration(profile, again).calibrations.map(({ date }) => date);
    expect(dates).toEqual([again.date, large.date]);
  });
});

describe("the file", () => {
  const folder = mkdtempSync(path.join(os.tmpdir(), "warmset-profile-"));
  afterAll(() => rmSync(folder, { recursive: true }));
  const file = path.join(folder, "not", "there", "yet", "profile.json");

  test("lies in the user's cache folder", () => {
    expect(profilePath({ XDG_CACHE_HOME: "/somewhere" })).toBe("/somewhere/warmset/profile.json");
    expect(profilePath({})).toBe(path.join(os.homedir(), ".cache/warmset/profile.json"));
  });

  test("comes back as it was written, and is empty before", () => {
    expect(readProfile(file)).toEqual(EMPTY_PROFILE);
    const profile = withCalibration(EMPTY_PROFILE, calibration("2026-11-22T00:00:00Z", 7e8, null));
    writeProfile(file, profile);
    expect(readProfile(file)).toEqual(profile);
    expect(readdirSync(path.dirname(file))).toEqual(["profile.json"]);
  });

  test.each([
    ["not JSON", "{"],
    ["another format", "{}"],
    ["another format", "null"],
    ["schema version 2", '{"format": "warmset-profile", "schemaVersion": 2}'],
    ["incomplete", '{"format": "warmset-profile", "schemaVersion": 1, "calibrations": [{"date": "x"}]}'],
  ])("is refused by name: %s", (problem, text) => {
    const broken = path.join(folder, "broken.json");
    writeFileSync(broken, text);
    expect(() => readProfile(broken)).toThrow(ProfileError);
    expect(() => readProfile(broken)).toThrow(new RegExp(`broken\\.json.*${problem}.*calibrate`));
  });
});
