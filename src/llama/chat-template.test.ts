import { afterAll, describe, expect, it } from "vitest";
import { ChatTemplate, chatTemplate, type SpecialTokenTexts } from "./chat-template.ts";
import { loadDemoModel } from "./demo-model.test-data.ts";
import { ChatTemplateError } from "./errors.ts";

const model = loadDemoModel();
afterAll(() => model.dispose());

const SPECIAL: SpecialTokenTexts = { bos: "<s>", eos: "</s>", addsBos: false, addsEos: false };
const render = (source: string, ...parameters: Parameters<ChatTemplate["render"]>) =>
  new ChatTemplate(source, SPECIAL).render(...parameters);
const user = (content: string) => ({ role: "user", content });

describe("the demo model's template", () => {
  it("renders a question", () => {
    const text = chatTemplate(model).render([user("What is 12 + 7?")]);
    expect(text).toBe("<|user|>\nWhat is 12 + 7?<|end|>\n<|assistant|>\n");
    expect([...model.vocabulary.tokenize(text, { parseSpecial: true })].filter((t) => t >= 4092)).toEqual([
      4093, 4095, 4094,
    ]);
  });

  it("renders a conversation, with or without the header of the next answer", () => {
    const messages = [user("Hi"), { role: "assistant", content: "Hello!" }, user("Bye")];
    const text = "<|user|>\nHi<|end|>\n<|assistant|>\nHello!<|end|>\n<|user|>\nBye<|end|>\n";
    expect(chatTemplate(model).render(messages, { addGenerationPrompt: false })).toBe(text);
    expect(chatTemplate(model).render(messages)).toBe(`${text}<|assistant|>\n`);
  });
});

describe("ChatTemplate", () => {
  it("gives templates the variables that they expect", () => {
    const source =
      "{{ bos_token }}{{ messages[0]['content'] | trim }}{% if tools is not none %}{{ tools | length }} tools{% endif %}" +
      "{% if enable_thinking %} think{% endif %}{% for i in range(1, 4) %} {{ i }}{% endfor %}{{ eos_token }}";
    expect(render(source, [user(" a ")])).toBe("<s>a 1 2 3</s>");
    expect(render(source, [user("a")], { tools: [{}, {}], variables: { enable_thinking: true } })).toBe(
      "<s>a2 tools think 1 2 3</s>",
    );
  });

  it("has Python's range", () => {
    const list = (parameters: string) => render(`{% for i in range(${parameters}) %}{{ i }},{% endfor %}`, []);
    expect(list("3")).toBe("0,1,2,");
    expect(list("2, 5")).toBe("2,3,4,");
    expect(list("5, 0, -2")).toBe("5,3,1,");
    expect(list("5, 2")).toBe("");
  });

  it("tells the date that it is given, in English", () => {
    const source = "{% if strftime_now is defined %}{{ strftime_now('%d %b %Y') }}{% endif %}";
    expect(render(source, [], { now: new Date(2026, 2, 5) })).toBe("05 Mar 2026");
    expect(render("{{ strftime_now('%Y') }}", [])).toBe(String(new Date().getFullYear()));
  });

  it("leaves begin and end to the tokeniser that adds them", () => {
    const source = "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}";
    const text = (addsBos: boolean, addsEos: boolean) =>
      new ChatTemplate(source, { ...SPECIAL, addsBos, addsEos }).render([user("a")]);
    expect(text(true, false)).toBe("a</s>");
    expect(text(true, true)).toBe("a");
    expect(text(false, false)).toBe("<s>a</s>");
  });

  it("passes on what a template refuses, and how to go on without it", () => {
    const source = "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}";
    const refused = () => render(source, [{ role: "system", content: "" }]);
    expect(refused).toThrow(ChatTemplateError);
    expect(refused).toThrow(/refuses these messages \(System role not supported\).*--raw.*--chat-template-file FILE/);
    expect(render(source, [user("a")])).toBe("");
  });

  it("fails by name on templates that are missing, broken or beyond the renderer", () => {
    using other = loadDemoModel();
    const bare = Object.assign(Object.create(other), { chatTemplate: undefined }) as typeof other;
    expect(() => chatTemplate(bare)).toThrow(/no chat template.*--chat-template-file FILE/);
    expect(() => chatTemplate(model, "{% if %}")).toThrow(/does not parse/);
    expect(() => render("{{ messages | no_such_filter }}", [])).toThrow(/does not render/);
    expect(() => render("{{ messages | no_such_filter }}", [])).toThrow(ChatTemplateError);
  });

  it("takes the user's template instead of the model's", () => {
    expect(chatTemplate(model, "[{{ messages[0].content }}]").render([user("a")])).toBe("[a]");
  });
});
