/**
 * Tuned gates as whole matrices in a safetensors file, under the names they have in a GGUF. The reverse patch of a patched
 * model is such a file too: its gates are the model's own, and the patched ones lie beside them.
 */
import type { TunedGate } from "../tune/router-delta.ts";
import { type BaseModel, requireSameShape } from "./base-model.ts";
import { AdapterError } from "./errors.ts";
import {
  ARTIFACT_VERSION,
  checkedBlocks,
  type GateValues,
  parseReport,
  type RouterArtifact,
  requireFinite,
  requireKnownVersion,
} from "./router-artifact.ts";
import { type FloatTensor, readSafetensors, type Safetensors, writeSafetensors } from "./safetensors.ts";

const FORMAT = "warmset-router";
const REPLACED = "replaced.";

/** @throws GgufError `unwritable` */
export async function writeRouterSafetensors(path: string, artifact: RouterArtifact): Promise<void> {
  const { delta, report, replaced = [] } = artifact;
  const { architecture, experts, used, width, method, layers } = delta;
  const metadata = {
    format: FORMAT,
    version: String(ARTIFACT_VERSION),
    ...{ architecture, experts: String(experts), used: String(used), width: String(width), method },
    blocks: JSON.stringify(layers.map(({ block }) => block)),
    base_sha256: JSON.stringify(layers.map(({ baseSha256 }) => baseSha256)),
    report: JSON.stringify(report),
  };
  await writeSafetensors(path, metadata, [
    ...layers.flatMap(({ block, gate, bias }) => gateTensors("", { block, weights: gate, bias }, experts, width)),
    ...replaced.flatMap((gate) => gateTensors(REPLACED, gate, experts, width)),
  ]);
}

/**
 * Whether its gates were tuned from the base's is not looked at.
 * @throws AdapterError `damaged`, `unsupported`, or `wrong-base` for a model of other sizes
 */
export function readRouterSafetensors(path: string, base: BaseModel): RouterArtifact {
  const file = readSafetensors(path);
  const { metadata } = file;
  if (metadata.format !== FORMAT)
    throw new AdapterError(
      "unsupported",
      path,
      "it does not say that it holds routers and of which model. Make one with warmset tune export.",
    );
  requireKnownVersion(path, Number(metadata.version));
  const shape = {
    architecture: metadata.architecture ?? "",
    experts: Number(metadata.experts),
    used: Number(metadata.used),
    width: Number(metadata.width),
  };
  requireSameShape(path, shape, base);
  const layers: TunedGate[] = tunedBlocks(path, metadata).map(({ block, baseSha256 }) => {
    const { weights, bias } = gateValues(path, file, "", block, base);
    return { block, gate: weights, bias, baseSha256 };
  });
  const isReverse = [...file.tensors.keys()].some((name) => name.startsWith(REPLACED));
  const replaced = layers.map(({ block }) => (isReverse ? gateValues(path, file, REPLACED, block, base) : undefined));
  return {
    delta: { ...shape, method: metadata.method ?? "", layers },
    report: parseReport(metadata.report),
    ...(isReverse ? { replaced: replaced.filter((gate) => gate !== undefined) } : {}),
  };
}

/** @throws AdapterError `damaged`, `unsupported`; GgufError */
export function isReversePatch(path: string): boolean {
  return [...readSafetensors(path).tensors.keys()].some((name) => name.startsWith(REPLACED));
}

function gateTensors(prefix: string, gate: GateValues, experts: number, width: number): FloatTensor[] {
  const name = `${prefix}blk.${gate.block}.ffn_gate_inp`;
  const weights = { name: `${name}.weight`, shape: [experts, width], values: gate.weights };
  return gate.bias === undefined ? [weights] : [weights, { name: `${name}.bias`, shape: [experts], values: gate.bias }];
}

function gateValues(path: string, { tensors }: Safetensors, prefix: string, block: number, base: BaseModel) {
  const name = `${prefix}blk.${block}.ffn_gate_inp`;
  const weights = tensors.get(`${name}.weight`);
  const bias = tensors.get(`${name}.bias`);
  const { experts, width } = base;
  if (weights?.shape.length !== 2 || weights.shape[0] !== experts || weights.shape[1] !== width)
    throw new AdapterError("damaged", path, `${name}.weight is missing or not ${experts} x ${width}.`);
  const wanted = base.gates.find((gate) => gate.block === block)?.bias !== undefined;
  if ((bias !== undefined) !== wanted || (bias !== undefined && bias.values.length !== experts))
    throw new AdapterError(
      "damaged",
      path,
      `${name}.bias ${bias === undefined ? "is missing" : `does not fit a model ${wanted ? `of ${experts} experts` : "without one"}`}.`,
    );
  requireFinite(path, block, weights.values);
  if (bias !== undefined) requireFinite(path, block, bias.values);
  return { block, weights: weights.values, bias: bias?.values };
}

function tunedBlocks(path: string, metadata: Safetensors["metadata"]): { block: number; baseSha256: string }[] {
  return checkedBlocks(path, parseList(metadata.blocks), parseList(metadata.base_sha256));
}

function parseList(text: string | undefined): unknown[] | undefined {
  try {
    const list: unknown = JSON.parse(text ?? "");
    return Array.isArray(list) ? list : undefined;
  } catch {
    return undefined;
  }
}
