/**
 * Prompts as a service sees them again and again: a long text before short questions, templates with one word exchanged, and some
 * that come twice. Made of the shipped texts and prompts, which the demo model continues sensibly; the same every time.
 */
import { readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import type { Prompt } from "../../workload/prompt.ts";
import { readHeldOutTexts } from "../held-out.ts";

/** `new` ones share nothing with others: what a store can only be too slow for. */
export type PromptKind = "system" | "template" | "repeat" | "new";

/** A prompt, and whether the store may have seen its like before. */
export interface HintPrompt extends Prompt {
  readonly kind: PromptKind;
  /** `teach` comes before anything is measured. */
  readonly part: "teach" | "test";
}

export interface HintPromptOptions {
  /** Prompts that are measured, of each kind. @default 8 */
  readonly testPrompts?: number;
  /** Prompts with the same beginning before those. @default 6 for each system text and template */
  readonly teachPrompts?: number;
}

/** System texts and templates of each domain. */
const STEMS = 2;
/** 100 and 60 tokens of English, half of that in code. */
const SYSTEM_CHARACTERS = 360;
const TEMPLATE_CHARACTERS = 120;
const QUESTION_CHARACTERS = 100;

const FOLDER = fileURLToPath(new URL("../../../models", import.meta.url));

export function hintPrompts({ testPrompts = 8, teachPrompts = 6 }: HintPromptOptions = {}): HintPrompt[] {
  const domains = readHeldOutTexts([path.join(FOLDER, "text")]);
  const questions = questionsByDomain();
  const prompts: HintPrompt[] = [];
  const stems = domains.flatMap(({ domain, text }) =>
    Array.from({ length: STEMS }, (_, i) => ({ domain, text, stem: i })),
  );
  const perStem = Math.ceil(testPrompts / stems.length);
  for (const { domain, text, stem } of stems) {
    const own = questions.get(domain) ?? [];
    for (let i = 0; i < teachPrompts + perStem; i++) {
      const part = i < teachPrompts ? "teach" : "test";
      const question = own[(stem * (teachPrompts + perStem) + i) % own.length];
      const system = paragraph(text, 2 * stem, SYSTEM_CHARACTERS);
      const add = (kind: PromptKind, content: string) =>
        prompts.push({ id: `${kind}-${domain}-${stem}-${i}`, domain, kind, part, content });
      add("system", `${system}\n\n${question.slice(0, QUESTION_CHARACTERS)}`);
      const [before, after] = [1, 2].map((at) => paragraph(text, 10 + 4 * stem + at, TEMPLATE_CHARACTERS));
      add("template", `${before}\n${wordOf(question)}\n${after}\n${question.slice(-QUESTION_CHARACTERS / 2)}`);
    }
    add(prompts, stem, domain, own, perStem);
  }
  return prompts;
}

/** What comes twice comes in both parts; what is new in the second alone. */
function add(prompts: HintPrompt[], stem: number, domain: string, own: readonly string[], count: number): void {
  for (let i = 0; i < count; i++) {
    const again = own[own.length - 1 - (stem * count + i)];
    const fresh = own[Math.floor(own.length / 2) - 1 - (stem * count + i)];
    for (const part of ["teach", "test"] as const)
      prompts.push({ id: `repeat-${domain}-${stem}-${i}-${part}`, domain, kind: "repeat", part, content: again });
    prompts.push({ id: `new-${domain}-${stem}-${i}`, domain, kind: "new", part: "test", content: `${fresh}\n` });
  }
}

function questionsByDomain(): Map<string, string[]> {
  const lines = readFileSync(path.join(FOLDER, "prompts/demo.jsonl"), "utf8").trim().split("\n");
  const byDomain = new Map<string, string[]>();
  for (const line of lines) {
    const { domain, prompt } = JSON.parse(line) as { domain: string; prompt: string };
    byDomain.set(domain, [...(byDomain.get(domain) ?? []), prompt]);
  }
  return byDomain;
}

/** The text from its n-th thousand characters on, cut at the ends of lines or words. */
function paragraph(text: string, n: number, characters: number): string {
  const from = text.indexOf("\n", 1000 * n) + 1;
  const cut = text.slice(from, from + characters);
  return cut.slice(0, Math.max(cut.lastIndexOf(" "), cut.lastIndexOf("\n")));
}

function wordOf(question: string): string {
  return question.match(/[A-Za-z]{5,}/)?.[0] ?? "value";
}
