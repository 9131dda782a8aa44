/**
 * @file Parsed chat templates rewritten so that the jinja library for JavaScript does with them what Jinja2 does in
 * Python. Each rewriting says where the two differ. Knows no message.
 */

interface Node {
  readonly type: string;
  readonly [field: string]: unknown;
}

const isNode = (value: unknown): value is Node =>
  typeof value === "object" && value !== null && "type" in value && typeof value.type === "string";

/** No template can name these: names have no spaces. */
const stripName = "python strip";
const textName = "python text";

/** What rewritten templates call. The library passes strings as they are, and objects as maps of its own values. */
export const pythonFunctions: ReadonlyMap<string, (...values: unknown[]) => unknown> = new Map([
  [stripName, (side: unknown, text: unknown, characters: unknown) => strip(side, text, characters)],
  [textName, (value: unknown) => (typeof value === "string" ? value : representation(value))],
]);

/** The line breaks of a template's source as Jinja2's lexer leaves them. */
export const normalizeLineBreaks = (source: string): string => source.replace(/\r\n?/g, "\n");

/** Rewrites a parsed template, or a part of one, in place of which the result stands. */
export function rewriteForPython<Part>(part: Part): Part;
export function rewriteForPython(part: unknown): unknown {
  if (Array.isArray(part)) return part.map((each: unknown) => rewriteForPython(each));
  // Keyword arguments and literals of objects have nodes as keys, too.
  if (part instanceof Map)
    return new Map(
      [...part].map(([key, value]: [unknown, unknown]) => [rewriteForPython(key), rewriteForPython(value)]),
    );
  if (!isNode(part)) return part;
  const fields = Object.entries(part).map(([name, value]): [string, unknown] => {
    const rewritten = rewriteForPython(value);
    return [name, outputFields.has(name) && Array.isArray(rewritten) ? rewritten.map(printed) : rewritten];
  });
  return rewriteNode({ ...part, ...Object.fromEntries(fields) });
}

/** `{{ message.content }}` of none: Python writes "None", the library nothing. */
function printed(node: unknown): unknown {
  if (!isNode(node) || node.type !== "MemberExpression") return node;
  const isNone = {
    type: "TestExpression",
    operand: node,
    negate: false,
    test: { type: "Identifier", value: "none" },
  };
  return { type: "Ternary", condition: isNone, trueExpr: text("None"), falseExpr: node };
}

/** Fields with what a template writes, one after the other. */
const outputFields: ReadonlySet<string> = new Set(["body", "alternate", "defaultBlock"]);

function rewriteNode(node: Node): Node {
  switch (node.type) {
    case "CallExpression":
      return rewriteCall(node);
    case "FilterExpression":
      return rewriteFilter(node);
    default:
      return node;
  }
}

const call = (name: string, ...args: readonly unknown[]): Node => ({
  type: "CallExpression",
  callee: { type: "Identifier", value: name },
  args,
});
const text = (value: string): Node => ({ type: "StringLiteral", value });
const nameOf = (node: unknown): unknown =>
  isNode(node) && node.type === "Identifier" ? node["value"] : undefined;

/** `strip`, `lstrip` and `rstrip`: the library takes no characters, and JavaScript's white space for Python's. */
function rewriteCall(node: Node): Node {
  const { callee, args } = node;
  if (!isNode(callee) || callee.type !== "MemberExpression" || callee["computed"] === true) return node;
  const name = nameOf(callee["property"]);
  if (name !== "strip" && name !== "lstrip" && name !== "rstrip") return node;
  return call(stripName, text(name), callee["object"], ...(Array.isArray(args) ? (args as unknown[]) : []));
}

function rewriteFilter(node: Node): Node {
  const { operand, filter } = node;
  // A filter makes a text of its operand first.
  if (nameOf(filter) === "trim") return call(stripName, text("strip"), call(textName, operand));
  // Python's own notation of lists, dictionaries and None, which the library has no text for.
  if (nameOf(filter) === "string") return call(textName, operand);
  return isNode(filter) && filter.type === "CallExpression"
    ? { ...node, filter: rewriteSelection(filter) }
    : node;
}

/**
 * `selectattr(name, "undefined")`: the library applies no test to attributes that are not there, and takes that for
 * false; so the other filter is asked for those that are.
 */
function rewriteSelection(filter: Node): Node {
  const other = new Map<unknown, string>([
    ["selectattr", "rejectattr"],
    ["rejectattr", "selectattr"],
  ]).get(nameOf(filter["callee"]));
  const args: readonly unknown[] = Array.isArray(filter["args"]) ? filter["args"] : [];
  const test = args[1];
  if (other === undefined || !isNode(test) || test["value"] !== "undefined") return filter;
  return { ...filter, callee: { type: "Identifier", value: other }, args: [args[0], text("defined")] };
}

/** What Python's `str.strip` takes for white space. */
const whiteSpace = "\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";

function strip(side: unknown, of: unknown, characters: unknown): string {
  if (typeof of !== "string") throw new Error(`${String(side)} works on texts, found ${representation(of)}`);
  const escaped = typeof characters === "string" ? characters.replaceAll(/[\\\]^-]/g, "\\$&") : whiteSpace;
  if (escaped === "") return of;
  const start = side === "rstrip" ? of : of.replace(new RegExp(`^[${escaped}]+`, "u"), "");
  return side === "lstrip" ? start : start.slice(0, lengthWithout(start, new RegExp(`[${escaped}]`, "u")));
}

/** Length of a text without the characters of a set at its end; a regular expression would try every run of them. */
function lengthWithout(of: string, set: RegExp): number {
  const characters = Array.from(of);
  const kept = characters.findLastIndex((character) => !set.test(character)) + 1;
  return characters.slice(0, kept).join("").length;
}

/** Python's `repr`, of JavaScript's values and of the library's own around them. */
function representation(value: unknown): string {
  // The library tells functions nothing of whether a value is none or undefined.
  if (value === null || value === undefined) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value === "number" || typeof value === "bigint") return String(value);
  if (typeof value === "string") return quoted(value);
  if (Array.isArray(value)) return `[${value.map((each: unknown) => representation(each)).join(", ")}]`;
  if (value instanceof Map) {
    const entries = [...value].map(
      ([key, each]: [unknown, unknown]) => `${representation(key)}: ${representation(each)}`,
    );
    return `{${entries.join(", ")}}`;
  }
  if (typeof value === "object" && "value" in value) return representation(value.value);
  throw new Error(`a ${typeof value} has no text`);
}

const escapes: ReadonlyMap<string, string> = new Map([
  ["\\", "\\\\"],
  ["\n", "\\n"],
  ["\r", "\\r"],
  ["\t", "\\t"],
]);

function quoted(value: string): string {
  const mark = value.includes("'") && !value.includes('"') ? '"' : "'";
  const written = Array.from(value, (character) => {
    if (character === mark) return `\\${character}`;
    const code = character.codePointAt(0) ?? 0;
    const isControl = code < 0x20 || (code >= 0x7f && code < 0xa1) || code === 0xad;
    return escapes.get(character) ?? (isControl ? `\\x${code.toString(16).padStart(2, "0")}` : character);
  });
  return mark + written.join("") + mark;
}
