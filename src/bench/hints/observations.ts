/** What a store learns from requests whose routing is known, without a model: the hints of all whole blocks, under their keys. */
import type { ModelShape } from "../../cache/shape.ts";
import { BlockChain } from "../../flash/hints/block-chain.ts";
import type { SegmentCodec } from "../../flash/hints/segment-hint.ts";
import { NO_ID, type TraceSample } from "../../trace/trace.ts";

export interface Observation {
  readonly key: Uint8Array;
  readonly hint: Uint8Array;
}

export function* observationsOf(
  { tokens, experts, length }: TraceSample,
  shape: ModelShape,
  codec: SegmentCodec,
  { salt, blockTokens }: { readonly salt: string; readonly blockTokens: number },
): Generator<Observation> {
  if (tokens === undefined) throw new Error("The trace has no tokens");
  const chain = new BlockChain(salt, blockTokens);
  chain.extend(0, tokens);
  const perToken = shape.layers * shape.expertsUsed;
  for (let block = 0; (block + 1) * blockTokens <= length; block++) {
    const uses = new Uint8Array(shape.layers * shape.experts);
    for (let at = block * blockTokens * perToken; at < (block + 1) * blockTokens * perToken; at++) {
      const layer = Math.floor((at % perToken) / shape.expertsUsed);
      if (experts[at] !== NO_ID) uses[layer * shape.experts + experts[at]]++;
    }
    yield { key: chain.key(block), hint: codec.encode(uses) };
  }
}
