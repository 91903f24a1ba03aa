/**
 * Finds and loads the prebuilt libllama and libggml of the npm packages `@node-llama-cpp/<platform>`, refuses any other
 * version than the pinned one, and binds the functions. It loads no model and reads no environment.
 */
import { existsSync, readdirSync, realpathSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import koffi, { type LibraryHandle } from "koffi";
import { LibraryMissingError, LibraryVersionError, UnsupportedPlatformError } from "./errors.ts";
import {
  bind,
  GGML_BASE_PROTOTYPES,
  GGML_PROTOTYPES,
  type GgmlBaseFunctions,
  type GgmlFunctions,
  LLAMA_PROTOTYPES,
  type LlamaFunctions,
} from "./functions.ts";
import { checkParameterStructs, checkTensorLayout } from "./layout-check.ts";
import { NativeLog } from "./log.ts";

/** The llama.cpp release whose structs and functions `structs.ts` and `functions.ts` describe. */
export const LLAMA_VERSION = "0.5.0";

/** The npm release of `@node-llama-cpp/*` that ships it. */
export const PACKAGE_VERSION = "3.22.1";

const PACKAGES: Readonly<Record<string, string>> = {
  "linux-x64": "linux-x64",
  "linux-arm64": "linux-arm64",
};

export interface LibraryPaths {
  /** Directory that holds the libraries and the CPU back ends. */
  readonly directory: string;
  /** Real path of libllama, as /proc/self/maps shows it. */
  readonly llama: string;
  readonly ggml: string;
  readonly ggmlBase: string;
}

export interface LoadLibrariesOptions {
  /** Copy llama.cpp's log to stderr. Default false. */
  readonly verbose?: boolean;
}

export interface Libraries {
  /** What `llama_version()` says, LLAMA_VERSION up to a build suffix. */
  readonly version: string;
  readonly paths: LibraryPaths;
  readonly llama: LlamaFunctions;
  readonly ggmlBase: GgmlBaseFunctions;
  /** The C library of the process, for mmap, madvise and the like. */
  readonly libc: LibraryHandle;
  readonly log: NativeLog;
}

/**
 * The npm package with the libraries for a platform, such as `@node-llama-cpp/linux-x64`.
 * @throws UnsupportedPlatformError where there is none that warmset can use
 */
export function platformPackage(platform: string = process.platform, arch: string = process.arch): string {
  const suffix = PACKAGES[`${platform}-${arch}`];
  if (suffix === undefined) throw new UnsupportedPlatformError(platform, arch);
  return `@node-llama-cpp/${suffix}`;
}

/**
 * Where the libraries of the installed platform package are.
 * @throws UnsupportedPlatformError, LibraryMissingError, LibraryVersionError
 */
export function findLibraries(): LibraryPaths {
  const packageName = platformPackage();
  let entry: string;
  try {
    entry = createRequire(import.meta.url).resolve(packageName);
  } catch (cause) {
    // npm leaves out packages that were built for another C library.
    if (!usesGlibc()) throw new UnsupportedPlatformError("linux (musl)", process.arch);
    throw new LibraryMissingError(packageName, "the package is not installed", { cause });
  }
  const directory = join(dirname(entry), "..", "bins", packageName.slice(packageName.indexOf("/") + 1));
  return librariesIn(directory, packageName);
}

/** Node's report names the C library's version where that is glibc. */
function usesGlibc(): boolean {
  const report = process.report.getReport() as unknown as { header?: { glibcVersionRuntime?: string } };
  return report.header?.glibcVersionRuntime !== undefined;
}

/**
 * The three libraries in `directory`, whose version is in their file names (`libllama.v0.5.0.so`).
 * @throws LibraryMissingError, LibraryVersionError
 */
export function librariesIn(directory: string, packageName: string): LibraryPaths {
  if (!existsSync(directory)) throw new LibraryMissingError(packageName, `${directory} does not exist`);
  const files = readdirSync(directory);
  const find = (stem: string): string => {
    const pattern = new RegExp(`^${stem}(?:\\.v([0-9][^/]*))?\\.so$`);
    for (const file of files) {
      const match = pattern.exec(file);
      if (match === null) continue;
      const path = realpathSync(join(directory, file));
      if (match[1] !== undefined && match[1] !== LLAMA_VERSION) {
        throw new LibraryVersionError(LLAMA_VERSION, match[1], path, `${packageName}@${PACKAGE_VERSION}`);
      }
      return path;
    }
    throw new LibraryMissingError(packageName, `there is no ${stem} in ${directory}`);
  };
  return { directory, llama: find("libllama"), ggml: find("libggml"), ggmlBase: find("libggml-base") };
}

/**
 * The native state (back ends, log callback) exists once per process, so the second call returns the first result.
 */
let loaded: Libraries | undefined;

/**
 * Loads the libraries and the CPU back end that suits this processor, about 50 ms; later calls only set `verbose`.
 * @throws UnsupportedPlatformError, LibraryMissingError, LibraryVersionError, StructLayoutError
 */
export function loadLibraries(options: LoadLibrariesOptions = {}): Libraries {
  if (loaded !== undefined) {
    if (options.verbose !== undefined) loaded.log.verbose = options.verbose;
    return loaded;
  }
  const paths = findLibraries();
  const open = (path: string): LibraryHandle => {
    try {
      return koffi.load(path, { global: true });
    } catch (cause) {
      throw new LibraryMissingError(platformPackage(), `${path} does not load (${String(cause)})`, { cause });
    }
  };
  const ggmlBase = bind<GgmlBaseFunctions>(open(paths.ggmlBase), GGML_BASE_PROTOTYPES);
  const ggml = bind<GgmlFunctions>(open(paths.ggml), GGML_PROTOTYPES);
  const llama = bind<LlamaFunctions>(open(paths.llama), LLAMA_PROTOTYPES);

  const version = llama.llama_version();
  // The shipped build calls itself 0.5.0-dev: it was built from the release's tag without its git metadata.
  if (version.split("-")[0] !== LLAMA_VERSION) {
    throw new LibraryVersionError(LLAMA_VERSION, version, paths.llama, `${platformPackage()}@${PACKAGE_VERSION}`);
  }
  const log = new NativeLog(llama, options.verbose ?? false);
  checkParameterStructs(llama);
  ggml.ggml_backend_load_all_from_path(paths.directory);
  llama.llama_backend_init(); // fills the f16 tables that ggml_init of the layout check would fill anyway
  checkTensorLayout(ggmlBase);
  const libc = koffi.load("libc.so.6");
  loaded = { version, paths, llama, ggmlBase, libc, log };
  return loaded;
}
