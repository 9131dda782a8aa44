/** @file The README.md of an adapter folder: what it is and how to load it. Nothing reads it but people and the hub. */
import type { Base } from "../base/base.ts";
import type { Adapter } from "./adapter.ts";
import { methodTable } from "./method-table.ts";
import type { MethodType } from "./method-table.ts";
import { automaticClass } from "./transformers-names.ts";

/** A name that can be a repository of the hub, which refuses cards that refer to anything else. */
const hubName = /^[A-Za-z0-9][\w.-]*\/[\w.-]+$/;

/** The text of the card, as Markdown with the hub's front matter. */
export function adapterCard<Type extends MethodType>(adapter: Adapter<Type>, base: Base): string {
  const { method, format } = methodTable[adapter.methodType];
  const { summary } = method;
  const isOwn = format?.isOwn === true;
  const loader = automaticClass(base.settings.task);
  // Names are the user's own and stand in code: what would end the code is left out.
  const name = base.name.replace(/[`"\\\p{Cc}]/gu, "");
  const labels = base.settings.labelCount;
  const labelArgument = loader.endsWith("Classification") ? `, num_labels=${labels}` : "";
  return `---
${isOwn ? "tags: [deltafit]" : "library_name: peft\ntags: [deltafit, peft]"}
${hubName.test(name) ? `base_model: ${name}\n` : ""}---

# Adapter for \`${name}\`

- Method: ${summary}
- Task: ${base.settings.task}${labelArgument === "" ? "" : ` with ${labels} ${labels === 1 ? "output" : "labels"}`}
- Trained parameters: ${adapter.layout.size}

The settings are in \`adapter_config.json\`, the weights in \`adapter_model.safetensors\`${isOwn ? "" : ", both in PEFT's format"}.

With deltafit:

\`\`\`sh
npx deltafit inspect FOLDER
npx deltafit evaluate --model "${name}" --adapter FOLDER --task ${base.settings.task} --data DATA
\`\`\`
${isOwn ? "" : withPeft(loader, name, labelArgument)}`;
}

function withPeft(loader: string, name: string, labelArgument: string): string {
  return `
With PEFT:

\`\`\`python
from peft import PeftModel
from transformers import ${loader}

model = ${loader}.from_pretrained("${name}"${labelArgument})
model = PeftModel.from_pretrained(model, "FOLDER")
\`\`\`
`;
}
