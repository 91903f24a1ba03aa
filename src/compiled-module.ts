/**
 * Where the compiled form of one of our own modules lies, for starting it in a worker or a child process: those need
 * JavaScript on disk, while tests run the TypeScript sources.
 */

/** URL of `relative` (a `./name.js` beside the caller) in `dist/`, whether the caller itself runs from `src/` or `dist/`. */
export function compiledModule(callerUrl: string, relative: string): URL {
  const compiledCaller = callerUrl.endsWith(".ts") ? callerUrl.replace(/\/src\/(?!.*\/src\/)/, "/dist/") : callerUrl;
  return new URL(relative, compiledCaller);
}
