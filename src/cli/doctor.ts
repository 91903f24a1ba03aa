/** `warmset doctor`: what this machine offers and what is downgraded. Reads only; takes about a second. */
import type { Command } from "commander";
import { addOptions, type Settings, settingsOf } from "./config.ts";
import { MachineUnfitError } from "./failure.ts";
import { alignColumns } from "./format.ts";
import type { Check } from "./machine-checks.ts";
import { DEMO_MODEL, modelPath } from "./model-options.ts";

export function addDoctorCommand(program: Command): void {
  const command = program
    .command("doctor [MODEL]")
    .description("check this machine, and the drive that MODEL (a file, or a folder of models) lies on");
  addOptions(command, ["model", "json", "verbose"]);
  command.action((argument: string | undefined) => doctor(argument, settingsOf(command)));
}

/** @throws MachineUnfitError when nothing can run here */
async function doctor(argument: string | undefined, settings: Settings): Promise<void> {
  // The native libraries are loaded for this command only.
  const { checkMachine, probeTarget } = await import("./machine-checks.ts");
  const given = argument ?? settings.model;
  const target = probeTarget(given === undefined ? DEMO_MODEL : modelPath(argument, settings));
  const checks = checkMachine(target);
  process.stdout.write(
    `${settings.json ? JSON.stringify(doctorDocument(target, checks)) : doctorText(target, checks, given)}\n`,
  );
  if (checks.some(({ status }) => status === "failed"))
    throw new MachineUnfitError("warmset cannot run models on this machine; see the lines marked failed.");
}

function doctorDocument(target: string, checks: readonly Check[]) {
  return {
    /** Whether models can be run at all. */
    usable: checks.every(({ status }) => status !== "failed"),
    target,
    downgrades: checks.flatMap(({ status, consequence }) =>
      status === "ok" || consequence === undefined ? [] : [consequence],
    ),
    checks,
  };
}

const MARKS: Readonly<Record<Check["status"], string>> = { ok: "ok", downgraded: "slower", failed: "FAILED" };

function doctorText(target: string, checks: readonly Check[], given: string | undefined): string {
  const rows = checks.map(({ status, label, found }) => [MARKS[status], label, found]);
  const consequences = checks.flatMap(({ label, consequence }) =>
    consequence === undefined ? [] : [`${label}: ${consequence}`],
  );
  return [
    `Reads were tried on ${target}${given === undefined ? " (name a model or folder to try its drive)" : ""}`,
    alignColumns(rows),
    ...(consequences.length === 0 ? ["Nothing is downgraded."] : consequences),
  ].join("\n");
}
