/** Where a machine's profile lies: one JSON file in the user's cache folder, because it can be measured again. */
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { EMPTY_PROFILE, type MachineProfile } from "./profile.ts";

/** A profile that cannot be used. */
export class ProfileError extends Error {
  override readonly name = "ProfileError";
  readonly file: string;

  constructor(file: string, problem: string) {
    super(`${file} is no profile of this version of warmset (${problem}). Measure again: warmset calibrate MODEL`);
    this.file = file;
  }
}

/** `$XDG_CACHE_HOME/warmset/profile.json`, or `~/.cache/warmset/profile.json`. */
export function profilePath(environment: NodeJS.ProcessEnv = process.env): string {
  const folder = environment.XDG_CACHE_HOME || path.join(os.homedir(), ".cache");
  return path.join(folder, "warmset", "profile.json");
}

/** The profile, or an empty one when there is no such file. @throws ProfileError, and what the system throws */
export function readProfile(file: string): MachineProfile {
  if (!existsSync(file)) return EMPTY_PROFILE;
  const text = readFileSync(file, "utf8");
  let profile: MachineProfile;
  try {
    profile = JSON.parse(text) as MachineProfile;
  } catch {
    throw new ProfileError(file, "not JSON");
  }
  if (profile?.format !== "warmset-profile") throw new ProfileError(file, "another format");
  if (profile.schemaVersion !== 1) throw new ProfileError(file, `schema version ${profile.schemaVersion}`);
  if (!Array.isArray(profile.calibrations) || !profile.calibrations.every(isCalibration))
    throw new ProfileError(file, "incomplete");
  return profile;
}

/** The folder is made when it is not there; a reader never sees half of the file. */
export function writeProfile(file: string, profile: MachineProfile): void {
  mkdirSync(path.dirname(file), { recursive: true });
  const temporary = `${file}.${process.pid}.tmp`;
  writeFileSync(temporary, `${JSON.stringify(profile, null, 2)}\n`);
  renameSync(temporary, file);
}

function isCalibration(value: unknown): boolean {
  const { date, disk, compute } = (value ?? {}) as { date?: unknown; disk?: unknown; compute?: unknown };
  const bursts = (disk as { model?: { bursts?: unknown } } | undefined)?.model?.bursts;
  return typeof date === "string" && Array.isArray(bursts) && compute !== undefined;
}
