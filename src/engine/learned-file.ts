/**
 * What a policy has learned, kept from one run to the next: one small file per model, routers and policy in the user's cache
 * folder, because it can be learned again. A file that is damaged, or of another model or policy, is told of and left unused;
 * what the bytes mean is the policy's business.
 */
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import nodePath from "node:path";
import type { Policy } from "../cache/policy.ts";
import type { policyByName } from "../policy/by-name.ts";

/** Where a policy keeps what it learns, and of which model it is. */
export interface LearnedFile {
  readonly path: string;
  /** SHA-256 of the model's header; with other routers in it, of that and theirs: they choose other experts. */
  readonly model: string;
  /** Name with switches: other switches may learn other things. */
  readonly policy: string;
  /** The policy without what it had learned, for when it cannot begin with that. @default there is no other */
  readonly fresh?: () => Policy;
}

export interface OpenedPolicy {
  readonly policy: Policy;
  /** Where to keep what it learns; undefined when it learns nothing lasting, or was told not to keep it. */
  readonly learned: LearnedFile | undefined;
  /** Why it starts with nothing although there is a file. */
  readonly notes: readonly string[];
}

/** First line of the file; the bytes follow. */
interface Head {
  readonly format: "warmset-learned";
  readonly schemaVersion: 1;
  readonly model: string;
  readonly policy: string;
  readonly bytes: number;
  readonly sha256: string;
}

/** A first line is shorter than this, whatever the names. */
const LONGEST_HEAD = 4096;
/** Of a name, in the file's. */
const NAME_CHARACTERS = 40;

export interface OpenPolicyOptions {
  /** `headerHash` of the model. */
  readonly modelHash: string;
  /** `routersHash` of routers in the place of the model's own; asked only if something is kept. @default the model's own */
  readonly routersHash?: () => string | undefined;
  /** "off", "auto" (in the cache folder), or a file. */
  readonly learned: string;
  /** Says where the cache folder is. @default that of the process */
  readonly environment?: NodeJS.ProcessEnv;
  readonly make: typeof policyByName;
}

/**
 * A policy with what it had learned of this model before, if there is such.
 * @throws UnknownPolicyError, PolicySwitchError, and what `routersHash` throws
 */
export function openPolicy(name: string, options: OpenPolicyOptions): OpenedPolicy {
  const { modelHash, learned, environment = process.env, make } = options;
  const any = make(name);
  if (learned === "off" || any.learned === undefined) return { policy: any, learned: undefined, notes: [] };
  const routers = options.routersHash?.();
  const model = routers === undefined ? modelHash : sha256(Buffer.from(modelHash + routers));
  const fresh = () => make(name);
  const path = learned === "auto" ? learnedPath(model, name, environment) : learned;
  const file: LearnedFile = { path, model, policy: name, fresh };
  const unused = (why: unknown): OpenedPolicy => ({
    ...{ policy: fresh(), learned: file },
    notes: [unusedNote(file, why)],
  });
  const found = readLearned(file);
  if (found.problem !== undefined) return unused(found.problem);
  if (found.bytes === undefined) return { policy: fresh(), learned: file, notes: [] };
  try {
    return { policy: make(name, { learned: found.bytes }), learned: file, notes: [] };
  } catch (error) {
    return unused(error);
  }
}

/** What a user is told of a file that is there and was not used. */
export function unusedNote({ path, policy }: LearnedFile, why: unknown): string {
  const reason = (why instanceof Error ? why.message : String(why)).replace(/\.$/, "");
  return `${path} is not used: ${reason}. What ${policy} learns now takes its place.`;
}

/** In `$WARMSET_HOME/learned`, else `$XDG_CACHE_HOME/warmset/learned`, else `~/.cache/warmset/learned`. */
export function learnedPath(model: string, policy: string, environment: NodeJS.ProcessEnv = process.env): string {
  const home =
    environment.WARMSET_HOME ||
    nodePath.join(environment.XDG_CACHE_HOME || nodePath.join(os.homedir(), ".cache"), "warmset");
  // Names may differ in characters that a file's name cannot have.
  const readable = policy.replace(/[^\w.+=,-]+/g, "_").slice(0, NAME_CHARACTERS);
  return nodePath.join(
    home,
    "learned",
    `${model.slice(0, 16)}-${readable}-${sha256(Buffer.from(policy)).slice(0, 8)}.bin`,
  );
}

/** Neither when there is no file. */
export function readLearned({ path: file, model, policy }: LearnedFile): { bytes?: Uint8Array; problem?: string } {
  let whole: Buffer;
  try {
    whole = readFileSync(file);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    return code === "ENOENT" ? {} : { problem: message };
  }
  const end = whole.subarray(0, LONGEST_HEAD).indexOf("\n");
  let head: Partial<Head> | null;
  try {
    head = end < 0 ? null : (JSON.parse(whole.toString("utf8", 0, end)) as Partial<Head> | null);
  } catch {
    head = null;
  }
  if (head?.format !== "warmset-learned") return { problem: "it is no such file of warmset" };
  if (head.schemaVersion !== 1) return { problem: `it is of another version (${head.schemaVersion})` };
  if (head.model !== model) return { problem: "it is of another model or other routers" };
  if (head.policy !== policy) return { problem: `it is of another policy (${head.policy})` };
  const bytes = whole.subarray(end + 1);
  if (bytes.length !== head.bytes || sha256(bytes) !== head.sha256) return { problem: "it is damaged" };
  return { bytes: Uint8Array.from(bytes) };
}

/** The folder is made when it is not there; a reader never sees half of the file. @throws what the system throws */
export function writeLearned({ path: file, model, policy }: LearnedFile, bytes: Uint8Array): void {
  const head: Head = {
    ...{ format: "warmset-learned", schemaVersion: 1, model, policy },
    ...{ bytes: bytes.length, sha256: sha256(bytes) },
  };
  mkdirSync(nodePath.dirname(nodePath.resolve(file)), { recursive: true });
  const temporary = `${file}.${process.pid}.tmp`;
  try {
    writeFileSync(temporary, Buffer.concat([Buffer.from(`${JSON.stringify(head)}\n`), bytes]));
    renameSync(temporary, file);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
