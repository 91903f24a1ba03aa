/**
 * What policies are made from beyond their names, for any model of the tests: a predictor that was not trained but put
 * together from the model's own routers. Byte identity must hold whatever a predictor says; a policy that begins with
 * another resource finds it here.
 */
import { openGguf, readMoeLayout, readRouterWeights, toModelShape } from "../../src/gguf/index.ts";
import type { PolicyResources } from "../../src/policy/by-name.ts";
import { lookAhead } from "../../src/predict/look-ahead.ts";
import { headPlaces, type RouterPredictor } from "../../src/predict/router-predictor.ts";

const REACH = { stride: 0, window: 2 };

export function policyResources(modelPath: string): PolicyResources {
  return { predictor: routersAsPredictor(modelPath) };
}

/** What later layers' routers say to a layer's input; where these are of another kind it predicts the first experts always. */
function routersAsPredictor(modelPath: string): RouterPredictor {
  const gguf = openGguf(modelPath);
  const layout = readMoeLayout(gguf);
  const { layers, experts, expertsUsed } = toModelShape(layout);
  const { hiddenSize } = layout;
  const routers = readRouterWeights(gguf, layout);
  const nothing = new Float32Array(experts * (hiddenSize + 1));
  return {
    model: { name: modelPath, hash: "0".repeat(64), tokenizerHash: null, layers, experts, expertsUsed, hiddenSize },
    ...{ kind: "linear", width: 0, ...REACH, trainingMs: 0 },
    heads: headPlaces(layers, REACH).map(({ layer, distance }) => ({
      ...{ layer, distance, inner: undefined },
      outer: routers === undefined ? nothing : lookAhead(routers, layer, distance),
    })),
    recall: [],
  };
}
