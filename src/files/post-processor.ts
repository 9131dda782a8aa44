/**
 * @file Where a tokenizer puts its special tokens around one text or a pair: the `post_processor` of
 * tokenizer.json turned into one plain form. Done here and not by the tokenizers library, which drops the
 * second text of a pair for byte-level tokenizers, takes an empty second text for none, and gives RoBERTa's
 * second text the type 1 that RoBERTa does not have.
 */
import { z } from "zod";
import { DeltafitError } from "../errors.ts";
import { quote } from "./quote.ts";

const tokenId = z.int().min(0);
const typeId = z.int().min(0).max(255).default(0);
const namedToken = z.tuple([z.string(), tokenId]);

const templateItem = z.union([
  z.object({ SpecialToken: z.object({ id: z.string(), type_id: typeId }) }),
  z.object({ Sequence: z.object({ id: z.enum(["A", "B"]), type_id: typeId }) }),
]);

const simpleProcessor = z.discriminatedUnion("type", [
  z.object({ type: z.literal("ByteLevel") }),
  z.object({ type: z.literal("BertProcessing"), sep: namedToken, cls: namedToken }),
  z.object({ type: z.literal("RobertaProcessing"), sep: namedToken, cls: namedToken }),
  z.object({
    type: z.literal("TemplateProcessing"),
    single: z.array(templateItem).max(64),
    pair: z.array(templateItem).max(64),
    special_tokens: z.record(z.string(), z.object({ ids: z.array(tokenId).max(64) })),
  }),
]);

/** The `post_processor` of a tokenizer.json, as far as deltafit reads it. */
export const postProcessorSchema = z.union([
  z.null(),
  simpleProcessor,
  z.object({ type: z.literal("Sequence"), processors: z.array(simpleProcessor).max(16) }),
]);

type SimpleProcessor = z.infer<typeof simpleProcessor>;

/** A special token, or the place of the first (A) or second (B) text. */
export type LayoutItem =
  | { readonly kind: "token"; readonly id: number; readonly typeId: number }
  | { readonly kind: "text"; readonly text: "A" | "B"; readonly typeId: number };

/** How one text, and how a pair, becomes a model's input. */
export interface SpecialTokenLayout {
  readonly single: readonly LayoutItem[];
  readonly pair: readonly LayoutItem[];
}

const textA: LayoutItem = { kind: "text", text: "A", typeId: 0 };

/** Without special tokens a pair is its two texts one after the other. */
const bareLayout: SpecialTokenLayout = {
  single: [textA],
  pair: [textA, { kind: "text", text: "B", typeId: 1 }],
};

/**
 * @throws DeltafitError `file-invalid` if more than one processor adds special tokens, or a template names an
 * unknown one.
 */
export function specialTokenLayout(
  postProcessor: z.infer<typeof postProcessorSchema>,
  where: string,
): SpecialTokenLayout {
  const listed: readonly SimpleProcessor[] =
    postProcessor === null
      ? []
      : postProcessor.type === "Sequence"
        ? postProcessor.processors
        : [postProcessor];
  const [processor, ...others] = listed.filter((candidate) => candidate.type !== "ByteLevel");
  if (processor === undefined) return bareLayout;
  if (others.length > 0) {
    const found = [processor, ...others].map((candidate) => candidate.type).join(", ");
    const message = `${where}: expected one post-processor that adds special tokens, found ${found}.`;
    throw new DeltafitError("file-invalid", message);
  }
  return layoutOf(processor, where);
}

function layoutOf(
  processor: Exclude<SimpleProcessor, { type: "ByteLevel" }>,
  where: string,
): SpecialTokenLayout {
  if (processor.type === "TemplateProcessing") return templateLayout(processor, where);
  const isBert = processor.type === "BertProcessing";
  const token = (id: number, type = 0): LayoutItem => ({ kind: "token", id, typeId: type });
  const [separator, start] = [processor.sep[1], processor.cls[1]];
  const single = [token(start), textA, token(separator)];
  // BERT: [CLS] A [SEP] B [SEP] with types 0 and 1. RoBERTa: <s> A </s> </s> B </s>, all of type 0.
  const secondType = isBert ? 1 : 0;
  const between = isBert ? [] : [token(separator)];
  const textB: LayoutItem = { kind: "text", text: "B", typeId: secondType };
  return { single, pair: [...single, ...between, textB, token(separator, secondType)] };
}

function templateLayout(
  template: Extract<SimpleProcessor, { type: "TemplateProcessing" }>,
  where: string,
): SpecialTokenLayout {
  const convert = (item: z.infer<typeof templateItem>): LayoutItem[] => {
    if ("Sequence" in item) return [{ kind: "text", text: item.Sequence.id, typeId: item.Sequence.type_id }];
    const { id: name, type_id: type } = item.SpecialToken;
    const special = Object.hasOwn(template.special_tokens, name) ? template.special_tokens[name] : undefined;
    if (special === undefined) {
      const message = `${where}: the post-processor's template uses ${quote(name)}, which its special_tokens do not list.`;
      throw new DeltafitError("file-invalid", message);
    }
    return special.ids.map((id) => ({ kind: "token", id, typeId: type }));
  };
  return { single: template.single.flatMap(convert), pair: template.pair.flatMap(convert) };
}
