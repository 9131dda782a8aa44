/**
 * @file Checks the command lines in the documentation against what exists: npm scripts, the commands and flags of
 * deltafit, and files of the repository. Runs none of them; commands and flags come from the help texts, through a
 * function the caller hands in.
 */

/** What a command line may name. `help` returns the help text of `deltafit <path>`, or undefined without a CLI. */
export interface Known {
  readonly npmScripts: ReadonlySet<string>;
  readonly help: (path: readonly string[]) => string | undefined;
  readonly exists: (path: string) => boolean;
}

/** Command lines of a shell block: continuations joined, comments and prompts removed, chains split. */
export function commandLines(text: string): { readonly offset: number; readonly words: readonly string[] }[] {
  const lines: { offset: number; words: readonly string[] }[] = [];
  let pending: { offset: number; text: string } | undefined;
  for (const [offset, line] of text.split("\n").entries()) {
    const joined: { offset: number; text: string } =
      pending === undefined
        ? { offset, text: line }
        : { offset: pending.offset, text: `${pending.text} ${line}` };
    if (joined.text.endsWith("\\")) {
      pending = { offset: joined.offset, text: joined.text.slice(0, -1) };
      continue;
    }
    pending = undefined;
    for (const words of splitCommands(joined.text)) lines.push({ offset: joined.offset, words });
  }
  return lines;
}

const tokenPattern = /\s*(?:(&&|\|\||[|;&])|(#.*)|((?:'[^']*'|"(?:[^"\\]|\\.)*"|\\.|[^\s|;&'"])+))/gy;

function splitCommands(line: string): string[][] {
  const commands: string[][] = [[]];
  const text = line.trim().replace(/^[$>]\s+/, "");
  for (const [, separator, comment, word] of text.matchAll(tokenPattern)) {
    if (comment !== undefined) break;
    if (separator !== undefined) commands.push([]);
    if (word !== undefined) commands.at(-1)?.push(word.replace(/^(['"])(.*)\1$/s, "$2"));
  }
  return commands.filter((words) => words.length > 0);
}

/** The words after `deltafit`, or undefined where the line runs something else. */
function argumentsOfDeltafit(words: readonly string[]): readonly string[] | undefined {
  const [first, second] = words;
  if (first === "deltafit") return words.slice(1);
  if (first === "npx" && second === "deltafit") return words.slice(2);
  if (first === "node" && second === "dist/cli/main.js") return words.slice(2);
  return undefined;
}

function commandsIn(help: string): ReadonlySet<string> {
  const section = /^Commands:\n((?:[ \t].*(?:\n|$)|\n)*)/m.exec(help)?.[1] ?? "";
  return new Set([...section.matchAll(/^ {2}([a-z][a-z0-9-]*)/gm)].map(([, name = ""]) => name));
}

function flagsIn(help: string): ReadonlySet<string> {
  return new Set([...help.matchAll(/^\s+(?:-\w, )?(--[a-z][a-z0-9-]*)/gm)].map(([, name = ""]) => name));
}

const list = (names: ReadonlySet<string>) => [...names].sort().join(", ");

function problemsOfDeltafit(words: readonly string[], known: Known): string[] {
  const rootHelp = known.help([]);
  if (rootHelp === undefined) return [];
  const path: string[] = [];
  let help = rootHelp;
  for (let commands = commandsIn(help); commands.size > 0; commands = commandsIn(help)) {
    const word = words[path.length];
    if (word === undefined || word.startsWith("-") || word === "help") break;
    if (!commands.has(word)) {
      return [`\`${["deltafit", ...path, word].join(" ")}\` is no command; there are: ${list(commands)}`];
    }
    path.push(word);
    help = known.help(path) ?? "";
  }
  const flags = new Set([...flagsIn(rootHelp), ...flagsIn(help), "--help", "--version"]);
  const end = words.indexOf("--");
  return words
    .slice(path.length, end === -1 ? undefined : end)
    .filter((word) => /^--[a-z]/.test(word))
    .map((word) => word.replace(/=.*$/s, ""))
    .filter((flag) => !flags.has(flag))
    .map((flag) => `\`${["deltafit", ...path].join(" ")}\` has no flag ${flag}; there are: ${list(flags)}`);
}

function problemsOfNpm(words: readonly string[], known: Known): string[] {
  const [, verb, name] = words;
  const script = verb === "test" || verb === "start" ? verb : verb === "run" ? name : undefined;
  if (script === undefined || script.startsWith("-") || known.npmScripts.has(script)) return [];
  return [`package.json has no script \`${script}\`; there are: ${list(known.npmScripts)}`];
}

/** What is wrong with one command line; empty when everything it names exists. */
export function commandProblems(line: readonly string[], known: Known): string[] {
  const start = line.findIndex((word) => !/^[A-Z_][A-Z0-9_]*=/.test(word));
  const words = line.slice(Math.max(start, 0));
  // `<command>` and `...` stand for something the reader fills in.
  if (words.some((word) => /^\[?<.*>\]?$|^\[?\.\.\.\]?$/.test(word))) return [];
  const deltafit = argumentsOfDeltafit(words);
  if (deltafit !== undefined) return problemsOfDeltafit(deltafit, known);
  if (words[0] === "npm") return problemsOfNpm(words, known);
  return words
    .filter(
      (word) => /^(?:scripts|bench|test|examples|docs|src|\.ci)\/[\w./-]+$/.test(word) && !known.exists(word),
    )
    .map((word) => `${word} does not exist in the repository`);
}
