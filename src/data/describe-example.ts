/** @file One tokenised example as lines for the eye. */
import type { Tokenizer } from "../files/tokenizer.ts";
import type { TokenizedExample } from "./tokenized-example.ts";
import { ignoredLabel } from "./tokenized-example.ts";

/**
 * Lines `token | id | label`, the columns aligned. The label is `trained` where a position is trained on its
 * own token, the label's id where it is another, and empty where it is not trained on; an example with one
 * label ends with a line for it.
 *
 * @param maximumTokens Longer examples are shown up to here, with a line that counts the rest.
 */
export function describeExample(
  example: TokenizedExample,
  tokenizer: Tokenizer,
  maximumTokens = 200,
): string[] {
  const shown = example.inputIds.slice(0, maximumTokens);
  const cells = shown.map((id, position): readonly [string, string, string] => {
    const label = "labels" in example ? (example.labels[position] ?? ignoredLabel) : ignoredLabel;
    const mark = label === ignoredLabel ? "" : label === id ? "trained" : String(label);
    return [printable(tokenizer.idToToken(id) ?? ""), String(id), mark];
  });
  const lines = table([["token", "id", "label"], ...cells]);
  const rest = example.inputIds.length - shown.length;
  if (rest > 0) lines.push(`... ${rest} more tokens`);
  if ("labelSet" in example) lines.push(`labels of the example: ${example.labelSet.join(", ") || "none"}`);
  if ("span" in example) lines.push(`answer: tokens ${example.span.start} to ${example.span.end}`);
  if ("label" in example) lines.push(`label of the example: ${example.label}`);
  if ("targets" in example) {
    const { targets } = example;
    const written = { inputIds: targets, labels: targets };
    lines.push("", "written after reading it:", ...describeExample(written, tokenizer, maximumTokens));
  }
  return lines;
}

function table(rows: readonly (readonly [string, string, string])[]): string[] {
  const tokenWidth = Math.max(...rows.map(([token]) => Array.from(token).length));
  const idWidth = Math.max(...rows.map(([, id]) => id.length));
  return rows.map(([token, id, mark]) => {
    const padding = " ".repeat(tokenWidth - Array.from(token).length);
    return `${token}${padding} | ${id.padStart(idWidth)} | ${mark}`.trimEnd();
  });
}

/** Control and format characters would disturb the terminal. */
function printable(token: string): string {
  return token.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (character) => {
    const code = character.codePointAt(0) ?? 0;
    return `\\u{${code.toString(16)}}`;
  });
}
