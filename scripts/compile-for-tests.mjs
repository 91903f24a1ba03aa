/**
 * Vitest's global set-up: some tests start the compiled program, or code that starts compiled workers and processes, so
 * dist/ must be as new as the sources. Type errors are the type check's business: the compiler emits all the same.
 */
import { buildIfStale } from "./build.mjs";

export default function setup() {
  buildIfStale();
}
