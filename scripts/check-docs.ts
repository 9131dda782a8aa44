/**
 * @file Keeps the documentation true: its TypeScript compiles (and runs, where a block is marked `ts run`), the
 * commands, flags and scripts it names exist, and its links lead somewhere. Prints `file:line: problem` and exits
 * with 1 if there is any.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { commandLines, commandProblems } from "./docs/commands.ts";
import type { Known } from "./docs/commands.ts";
import { exampleProblems } from "./docs/examples.ts";
import type { Example } from "./docs/examples.ts";
import { parseMarkdown } from "./docs/markdown.ts";
import type { Markdown } from "./docs/markdown.ts";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const builtCommand = join(root, "dist", "cli", "main.js");
const typescriptNames = new Set(["ts", "typescript"]);
const shellNames = new Set(["sh", "bash", "shell"]);

function documentNames(): string[] {
  const folder = join(root, "docs");
  const inFolder = existsSync(folder)
    ? readdirSync(folder, { recursive: true, encoding: "utf8" }).map((name) => `docs/${name}`)
    : [];
  const onTop = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"].filter((name) =>
    existsSync(join(root, name)),
  );
  return [...onTop, ...inFolder.filter((name) => name.endsWith(".md")).sort()];
}

const helpTexts = new Map<string, string>();

/** The help text of a command, asked for once. Without a built command there is nothing to compare with. */
function help(path: readonly string[]): string | undefined {
  if (!existsSync(builtCommand)) return undefined;
  const key = path.join(" ");
  const known = helpTexts.get(key);
  if (known !== undefined) return known;
  const { status, stdout, stderr } = spawnSync(process.execPath, [builtCommand, ...path, "--help"], {
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(`deltafit ${key} --help ended with ${status ?? "a signal"}:\n${stderr}`);
  helpTexts.set(key, stdout);
  return stdout;
}

function readKnown(): Known {
  const manifest: unknown = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const scripts =
    typeof manifest === "object" && manifest !== null && "scripts" in manifest ? manifest.scripts : undefined;
  return {
    npmScripts: new Set(Object.keys(scripts ?? {})),
    help,
    exists: (path) => existsSync(join(root, path)),
  };
}

const parsed = new Map<string, Markdown>();

function markdownOf(name: string): Markdown {
  const known = parsed.get(name) ?? parseMarkdown(readFileSync(join(root, name), "utf8"));
  parsed.set(name, known);
  return known;
}

function linkProblem(document: string, link: string): string | undefined {
  if (/^[a-z][a-z0-9+.-]*:/i.test(link)) return undefined;
  const [path = "", anchor] = link.split("#", 2);
  const target = path === "" ? document : normalize(join(dirname(document), decodeURIComponent(path)));
  if (target.startsWith("..")) return `the link ${link} leaves the repository`;
  if (!existsSync(join(root, target))) return `the link ${link} leads to ${target}, which does not exist`;
  if (anchor === undefined || anchor === "" || !target.endsWith(".md")) return undefined;
  if (markdownOf(target).anchors.has(anchor)) return undefined;
  return `the link ${link} leads to a heading that ${target} does not have`;
}

const problems: string[] = [];
const examples: Example[] = [];
let commandCount = 0;
let linkCount = 0;
const known = readKnown();
const documents = documentNames();

for (const document of documents) {
  const { blocks, inlineCode, links } = markdownOf(document);
  const checkCommands = (text: string, line: number) => {
    for (const { offset, words } of commandLines(text)) {
      commandCount++;
      for (const problem of commandProblems(words, known)) {
        problems.push(`${document}:${line + offset}: ${problem}`);
      }
    }
  };
  for (const { language, flags, line, text } of blocks) {
    if (typescriptNames.has(language)) examples.push({ document, line, text, run: flags.includes("run") });
    if (shellNames.has(language)) checkCommands(text, line);
  }
  for (const { line, text } of inlineCode) {
    if (/^(?:npx )?deltafit [a-z]|^npm run [a-z]/.test(text)) checkCommands(text, line);
  }
  for (const { line, text } of links) {
    linkCount++;
    const problem = linkProblem(document, text);
    if (problem !== undefined) problems.push(`${document}:${line}: ${problem}`);
  }
}
problems.push(...exampleProblems(root, examples));

if (!existsSync(builtCommand)) {
  console.log("docs: the commands of deltafit were not checked, since dist/cli/main.js is not built");
}
for (const problem of problems) console.error(problem);
const runCount = examples.filter(({ run }) => run).length;
console.log(
  `docs: ${documents.length} documents, ${examples.length} TypeScript blocks (${runCount} run), ` +
    `${commandCount} command lines, ${linkCount} links: ${problems.length} problems`,
);
if (problems.length > 0) process.exitCode = 1;
