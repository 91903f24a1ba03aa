import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { makeTinyModel, tinyModel } from "../../test/tiny-models/index.ts";
import { readBaseModel, writeRouterSafetensors } from "../adapter/index.ts";
import { DEMO_MODEL, fileHash, randomRouters } from "../adapter/random-routers.test-data.ts";
import { STREAMING, warmset } from "./command-line.test-data.ts";
import { EXIT } from "./failure.ts";

const folder = mkdtempSync(join(tmpdir(), "tune-export-"));
afterAll(() => rmSync(folder, { recursive: true }));
const at = (name: string) => join(folder, name);

beforeAll(async () => {
  await writeRouterSafetensors(at("tuned.safetensors"), randomRouters(readBaseModel(DEMO_MODEL)));
});

const run = (...args: string[]) =>
  warmset(["run", "demo", "-p", "The fox", "-n", "12", "--temp", "0", "--raw", "--json", ...STREAMING, ...args]);

test("an adapter is made, proved with llama.cpp, and applied by run; scale 0 is the model itself", async () => {
  const exported = await warmset([
    ...["tune", "export", at("tuned.safetensors"), at("tuned.gguf"), "--model", "demo", "--probe", "--json"],
  ]);
  expect(exported.stderr).toBe("");
  const document = JSON.parse(exported.stdout);
  expect(document).toMatchObject({ form: "lora", rank: 32, relativeError: 0, layers: 8, scale: 1 });
  expect(document.probe).toMatchObject({ architecture: "qwen3moe", changesOutput: true });
  expect(document.probe.routers.every(({ applied }: { applied: boolean }) => applied)).toBe(true);

  const [own, none, tuned, byEnvironment] = await Promise.all([
    run(),
    run("--router", at("tuned.gguf"), "--router-scale", "0"),
    run("--router", at("tuned.gguf"), "--router-scale", "3"),
    warmset(["run", "demo", "-p", "The fox", "-n", "12", "--temp", "0", "--raw", "--json", ...STREAMING], {
      env: { WARMSET_ROUTER: at("tuned.gguf"), WARMSET_ROUTER_SCALE: "3" },
    }),
  ]);
  const tokens = ({ stdout }: { stdout: string }) => JSON.parse(stdout).tokens;
  expect(tokens(none)).toEqual(tokens(own));
  expect(tokens(tuned)).not.toEqual(tokens(own));
  expect(tokens(byEnvironment)).toEqual(tokens(tuned));
  expect(tuned.stderr).toContain("at scale 3");
}, 30_000);

test("a model is patched in place and gets its routers back", async () => {
  const model = at("model.gguf");
  copyFileSync(DEMO_MODEL, model);
  const patched = await warmset(["tune", "export", at("tuned.safetensors"), model, "--in-place"]);
  expect(patched.stdout).toMatch(/patched in place[\s\S]*8 layers of 32 experts[\s\S]*reverse\.safetensors/);
  expect(fileHash(model)).not.toBe(fileHash(DEMO_MODEL));
  const back = await warmset(["tune", "export", `${model}.reverse.safetensors`, model, "--in-place"]);
  expect(back.stdout).toContain("its own routers are back");
  expect(fileHash(model)).toBe(fileHash(DEMO_MODEL));
});

test("an architecture that ignores adapters is told so", async () => {
  const model = await makeTinyModel(folder, tinyModel("kimi-k3"));
  await writeRouterSafetensors(at("kimi.safetensors"), randomRouters(readBaseModel(model)));
  const args = ["tune", "export", at("kimi.safetensors"), at("kimi.gguf"), "-m", model, "--probe"];
  expect((await warmset(args)).stdout).toContain("does NOT apply the adapter to the routers of kimi-k3");
});

test("wrong bases and wrong usage have their exit codes", async () => {
  const tiny = await makeTinyModel(folder, tinyModel("qwen3moe"));
  const failures = await Promise.all([
    warmset(["tune", "export", at("tuned.safetensors"), at("x.gguf"), "--model", tiny]),
    warmset(["run", tiny, "-p", "x", "--router", at("tuned.safetensors")]),
    warmset(["tune", "export", at("tuned.safetensors"), at("x.gguf")]),
    warmset(["tune", "export", at("tuned.safetensors"), at("x.bin"), "--model", "demo"]),
    warmset(["run", "demo", "-p", "x", "--router-scale", "1"]),
    warmset(["tune", "export", at("missing.gguf"), at("x.gguf"), "--model", "demo"]),
  ]);
  expect(failures.map(({ exitCode }) => exitCode)).toEqual([
    ...[EXIT.modelUnusable, EXIT.modelUnusable, EXIT.usage, EXIT.usage, EXIT.usage, EXIT.failed],
  ]);
  expect(failures[1].stderr).toMatch(
    /error: .*tuned\.safetensors: its routers are of another model: the number of experts/,
  );
}, 30_000);
