/**
 * @file Type-checks the TypeScript blocks of the documentation in one run of the compiler, and runs those marked
 * `run`, with `deltafit` resolved to the sources. Works in a folder of its own inside the repository, because the
 * compiler looks for packages from there upwards.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export interface Example {
  /** The document, relative to the repository. */
  readonly document: string;
  /** The line of the document where the block's content begins. */
  readonly line: number;
  readonly text: string;
  readonly run: boolean;
}

const runTimeoutMs = 300_000;

const configuration = {
  extends: "../tsconfig.json",
  compilerOptions: {
    paths: { deltafit: ["../src/index.ts"] },
    moduleDetection: "force",
    // An example shows a value without having to use it.
    noUnusedLocals: false,
    noUnusedParameters: false,
  },
  include: ["*.ts", "../src/**/*.d.ts"],
};

function fileOf(example: Example): string {
  return `${example.document.replace(/[^A-Za-z0-9]+/g, "-")}-line-${example.line}.ts`;
}

function compile(root: string, folder: string, byFile: ReadonlyMap<string, Example>): string[] {
  const compiler = join(root, "node_modules", "typescript", "bin", "tsc");
  const { status, stdout } = spawnSync(process.execPath, [compiler, "-p", folder, "--pretty", "false"], {
    cwd: folder,
    encoding: "utf8",
  });
  if (status === 0) return [];
  return stdout.split("\n").flatMap((line) => {
    if (line.trim() === "") return [];
    const [, file = "", row = "", text = ""] = /^(.+?)\((\d+),\d+\): (.*)$/.exec(line) ?? [];
    const example = byFile.get(file);
    return [example === undefined ? line : `${example.document}:${example.line + Number(row) - 1}: ${text}`];
  });
}

function execute(root: string, folder: string, file: string, example: Example): string[] {
  const place = join(folder, file.replace(/\.ts$/, ""));
  mkdirSync(place);
  const loader = join(root, "node_modules", "tsx", "dist", "cli.mjs");
  const { status, signal, stdout, stderr } = spawnSync(
    process.execPath,
    [loader, "--tsconfig", join(folder, "tsconfig.json"), join(folder, file)],
    { cwd: place, encoding: "utf8", timeout: runTimeoutMs },
  );
  if (status === 0) return [];
  const how = signal === null ? `exit code ${status ?? "unknown"}` : `signal ${signal}`;
  return [`${example.document}:${example.line}: the example failed when run (${how})\n${stdout}${stderr}`];
}

/** Type-checks all examples and, if they are sound, runs those that ask for it. Returns the problems. */
export function exampleProblems(root: string, examples: readonly Example[]): string[] {
  if (examples.length === 0) return [];
  const folder = join(root, ".docs-check");
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder);
  const byFile = new Map(examples.map((example) => [fileOf(example), example]));
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(configuration));
  for (const [file, example] of byFile) writeFileSync(join(folder, file), `${example.text}\n`);
  const problems = compile(root, folder, byFile);
  if (problems.length > 0) return problems;
  const failures = [...byFile].flatMap(([file, example]) =>
    example.run ? execute(root, folder, file, example) : [],
  );
  rmSync(folder, { recursive: true, force: true });
  return failures;
}
