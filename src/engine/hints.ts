/** Opens the hints of a model for its session: says of which model they are, and starts the thread that has the file. */
import { ThreadLink } from "../flash/hints/thread-link.ts";
import { openGguf, readMoeLayout, toModelShape } from "../gguf/index.ts";
import type { OpenRequest } from "./protocol.ts";
import { routersHash } from "./router-override.ts";

export interface OpenedHints {
  readonly link: ThreadLink;
  readonly salt: string;
}

/**
 * The file is opened while the model loads; see `ThreadLink.waitUntilOpen`.
 * @param modelHash of the model's header, which has the tokenizer and the type of every weight
 */
export function sessionHints(
  { path, router }: Pick<OpenRequest, "path" | "router">,
  file: string,
  modelHash: string,
): OpenedHints {
  const shape = toModelShape(readMoeLayout(openGguf(path)));
  const routers = router === undefined ? undefined : routersHash(path, router);
  return { link: new ThreadLink({ path: file, shape }), salt: `${modelHash} ${routers ?? ""}` };
}
