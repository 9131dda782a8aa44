/**
 * @file Takes a Markdown file apart into what can be checked: fenced blocks, inline code, links and headings.
 * Knows the part of Markdown this project writes, and nothing of TypeScript, shells or the file system.
 */

export interface Block {
  /** The first word after the fence, such as `ts`. */
  readonly language: string;
  /** The words after it, such as `run`. */
  readonly flags: readonly string[];
  /** The line of the block's first content line, counted from 1. */
  readonly line: number;
  readonly text: string;
}

export interface Located {
  readonly line: number;
  readonly text: string;
}

export interface Markdown {
  readonly blocks: readonly Block[];
  readonly inlineCode: readonly Located[];
  /** The targets of `[text](target)`. */
  readonly links: readonly Located[];
  /** The anchors that the headings get on GitHub. */
  readonly anchors: ReadonlySet<string>;
}

const fencePattern = /^(\s*)(`{3,}|~{3,})\s*(.*)$/;

/** GitHub's rule: lower case, punctuation dropped, spaces to dashes, repetitions numbered. */
function anchorOf(heading: string, taken: ReadonlySet<string>): string {
  const base = heading
    .trim()
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, "")
    .replace(/\s/g, "-");
  let anchor = base;
  for (let count = 1; taken.has(anchor); count++) anchor = `${base}-${count}`;
  return anchor;
}

interface OpenFence {
  readonly indent: number;
  readonly mark: string;
  readonly info: string;
  readonly line: number;
  readonly content: string[];
}

function closes(fence: OpenFence, line: string): boolean {
  const text = line.trim();
  return text.startsWith(fence.mark) && text === fence.mark.charAt(0).repeat(text.length);
}

function blockOf(fence: OpenFence): Block {
  const [language = "", ...flags] = fence.info.split(/\s+/);
  return { language, flags, line: fence.line, text: fence.content.join("\n") };
}

/** Reads one Markdown text. A fence that never closes runs to the end, as it does on GitHub. */
export function parseMarkdown(text: string): Markdown {
  const blocks: Block[] = [];
  const inlineCode: Located[] = [];
  const links: Located[] = [];
  const anchors = new Set<string>();
  let fence: OpenFence | undefined;
  for (const [index, line] of text.split("\n").entries()) {
    const number = index + 1;
    if (fence !== undefined) {
      if (closes(fence, line)) {
        blocks.push(blockOf(fence));
        fence = undefined;
      } else {
        const indent = Math.min(fence.indent, line.length - line.trimStart().length);
        fence.content.push(line.slice(indent));
      }
      continue;
    }
    const opening = fencePattern.exec(line);
    if (opening !== null) {
      const [, indent = "", mark = "", info = ""] = opening;
      fence = { indent: indent.length, mark, info: info.trim(), line: number + 1, content: [] };
      continue;
    }
    const heading = /^#{1,6}\s+(.*?)\s*#*$/.exec(line)?.[1];
    if (heading !== undefined) anchors.add(anchorOf(heading, anchors));
    for (const [, code = ""] of line.matchAll(/`([^`]+)`/g)) inlineCode.push({ line: number, text: code });
    const prose = line.replace(/`[^`]*`/g, "");
    for (const [, target = ""] of prose.matchAll(/\]\(\s*<?([^)\s>]+)[^)]*\)/g)) {
      links.push({ line: number, text: target });
    }
  }
  if (fence !== undefined) blocks.push(blockOf(fence));
  return { blocks, inlineCode, links, anchors };
}
