/**
 * The errors of the native edge. Each carries the data a caller needs to react (path, package, field) and its message
 * says what to do next. Status codes of a running decode are not errors; see `DecodeResult` in `context.ts`.
 */

const ADVICE: Readonly<Record<string, string>> = {
  win32: "On Windows use WSL 2.",
  // The last @node-llama-cpp/mac-* release, 3.21.1, holds llama.cpp 0.4.0, whose structs differ from 0.5.0's.
  darwin: "No npm package holds this llama.cpp for macOS; use a Linux virtual machine or container.",
  "linux (musl)": "Use a distribution with glibc, such as Debian or Ubuntu, or a container with one.",
};

/** No prebuilt llama.cpp exists for this operating system and processor. */
export class UnsupportedPlatformError extends Error {
  override readonly name = "UnsupportedPlatformError";
  constructor(
    readonly platform: string,
    readonly arch: string,
  ) {
    super(
      `warmset has no llama.cpp libraries for ${platform} ${arch}; it runs on Linux with glibc, on x64 and arm64. ` +
        (ADVICE[platform] ?? "Use such a system, or a container with one."),
    );
  }
}

/** The npm package with the prebuilt libraries is not installed, or its files do not load. */
export class LibraryMissingError extends Error {
  override readonly name = "LibraryMissingError";
  constructor(
    readonly packageName: string,
    readonly detail: string,
    options?: ErrorOptions,
  ) {
    super(
      `The llama.cpp libraries of ${packageName} cannot be used: ${detail}. ` +
        "Install them with: npm install --include=optional",
      options,
    );
  }
}

/** The installed libraries were built from another llama.cpp than the one whose structs this code knows. */
export class LibraryVersionError extends Error {
  override readonly name = "LibraryVersionError";
  constructor(
    readonly expected: string,
    readonly found: string,
    readonly path: string,
    readonly installSpec: string,
  ) {
    super(
      `${path} is llama.cpp ${found}, but this release of warmset works with ${expected} only. ` +
        `Install the right one with: npm install ${installSpec}`,
    );
  }
}

/** One field where the library and our struct definitions disagree. */
export interface FieldDifference {
  readonly field: string;
  readonly expected: unknown;
  readonly found: unknown;
}

/** The library's structs are laid out differently from ours; calling it would corrupt memory. */
export class StructLayoutError extends Error {
  override readonly name = "StructLayoutError";
  constructor(
    readonly struct: string,
    readonly differences: readonly FieldDifference[],
  ) {
    const list = differences.map((d) => `${d.field} is ${String(d.found)} instead of ${String(d.expected)}`).join(", ");
    super(
      `${struct} has another layout in the installed llama.cpp (${list}). ` +
        "Nothing was loaded; reinstall with: npm install --include=optional",
    );
  }
}

/** llama.cpp refused the model file. `log` holds its own warnings and errors, oldest first. */
export class ModelLoadError extends Error {
  override readonly name = "ModelLoadError";
  constructor(
    readonly path: string,
    readonly log: readonly string[],
  ) {
    super(`llama.cpp cannot load ${path}${log.length > 0 ? `: ${log.join(" | ")}` : ""}`);
  }
}

/** llama.cpp refused a LoRA adapter. `log` holds its own warnings and errors, oldest first. */
export class AdapterLoadError extends Error {
  override readonly name = "AdapterLoadError";
  constructor(
    readonly path: string,
    readonly log: readonly string[],
  ) {
    super(
      `llama.cpp cannot load the adapter ${path}${log.length > 0 ? `: ${log.join(" | ")}` : ""}. ` +
        "Use it with the model that it was made for.",
    );
  }
}

/** llama.cpp could not create a context, mostly for want of memory. `log` holds its own warnings and errors. */
export class ContextCreateError extends Error {
  override readonly name = "ContextCreateError";
  constructor(readonly log: readonly string[]) {
    super(
      `llama.cpp cannot create a context${log.length > 0 ? `: ${log.join(" | ")}` : ""}. ` +
        "A smaller context size or micro-batch needs less memory.",
    );
  }
}

/** A model, context, batch or sampler was used after its `dispose()`. */
export class DisposedError extends Error {
  override readonly name = "DisposedError";
  constructor(readonly object: string) {
    super(`The ${object} was used after dispose()`);
  }
}

/** A grammar does not parse, or a token was accepted that the grammar does not allow. */
export class GrammarError extends Error {
  override readonly name = "GrammarError";
}

/** The chat template is missing or does not render these messages. */
export class ChatTemplateError extends Error {
  override readonly name = "ChatTemplateError";
  constructor(
    readonly reason: string,
    options?: ErrorOptions,
  ) {
    super(
      `${reason}. Use --raw to send the prompt as it is, or --chat-template-file FILE to give a Jinja template.`,
      options,
    );
  }
}
