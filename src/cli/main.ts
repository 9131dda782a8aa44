#!/usr/bin/env node
/** @file The command `deltafit`: finds the command asked for, runs it, prints its result, and says errors. */
import { Command as Program, CommanderError, Option } from "commander";
import { DeltafitError } from "../errors.ts";
import type { Command } from "./command.ts";
import { kebab } from "./flags.ts";
import type { Flag, Given } from "./flags.ts";
import { packageVersion } from "./package-files.ts";
import { asDeltafitError, reportError, writeResult } from "./terminal.ts";

/** The commands in the order of the help, each loaded where it is called for: loading all takes a third of a second. */
const commandLoaders: ReadonlyMap<string, () => Promise<Command>> = new Map([
  ["train", async () => (await import("./train.ts")).train],
  ["generate", async () => (await import("./generate.ts")).generate],
  ["embed", async () => (await import("./embed.ts")).embed],
  ["evaluate", async () => (await import("./evaluate.ts")).evaluate],
  ["merge", async () => (await import("./merge.ts")).merge],
  ["combine", async () => (await import("./combine.ts")).combine],
  ["convert-to-lora", async () => (await import("./convert-to-lora.ts")).convertToLoraCommand],
  ["convert", async () => (await import("./convert.ts")).convert],
  ["inspect", async () => (await import("./inspect.ts")).inspect],
  ["memory", async () => (await import("./memory.ts")).memory],
  ["bench step", async () => (await import("./bench-step.ts")).benchStep],
  ["bench latency", async () => (await import("./bench-latency.ts")).benchLatency],
]);

/** The command that the words name, or all of them: for help, and to say what there is. */
function loadCommands([first = "", second = ""]: readonly string[]): Promise<Command[]> {
  const named = commandLoaders.get(first) ?? commandLoaders.get(`${first} ${second}`);
  return Promise.all((named ? [named] : [...commandLoaders.values()]).map((load) => load()));
}

/** Commands of two words stand under their first one. */
const groups: Readonly<Record<string, string>> = { bench: "measure speed and memory" };

const helpWidth = 80;
/** Heading of the flags that all commands have. */
const helpGroup = "General:";

function buildProgram(commands: readonly Command[]): Program {
  const program = baseProgram("deltafit")
    .usage("<command> [flags]")
    .description("Fine-tune language models with LoRA and its relatives, on the CPU, without Python.")
    .version(packageVersion(), "-V, --version", "print the version")
    .addHelpText("after", "\nExample:\n  deltafit train --data data.jsonl --out my-adapter");
  const parents = new Map<string, Program>();
  for (const [name, summary] of Object.entries(groups)) {
    const parent = baseProgram(name).description(summary);
    parents.set(name, parent);
  }
  for (const command of commands) {
    const [first = "", second] = command.name.split(" ");
    const parent = second === undefined ? program : parents.get(first);
    parent?.addCommand(buildCommand(command, second ?? first));
  }
  for (const parent of parents.values()) program.addCommand(parent);
  return program;
}

function baseProgram(name: string): Program {
  return new Program(name)
    .exitOverride()
    .addHelpOption(new Option("-h, --help", "print this help").helpGroup(helpGroup))
    .helpCommand(false)
    .showSuggestionAfterError(true)
    .configureHelp({ helpWidth })
    .configureOutput({
      outputError: () => undefined,
      getOutHelpWidth: () => helpWidth,
      getErrHelpWidth: () => helpWidth,
    });
}

function buildCommand(command: Command, name: string): Program {
  const program = baseProgram(name)
    .description(command.summary)
    .addHelpText("after", `\nExample:\n  ${command.example.replaceAll("\n", "\n  ")}`);
  if (command.argument) program.argument(`<${command.argument.name}>`, command.argument.summary);
  for (const [flagName, flag] of Object.entries(command.flags))
    program.addOption(buildOption(flagName, flag));
  program.action(async () => {
    const options: Record<string, unknown> = program.opts();
    const result = await command.execute(givenOn(command, options), program.args[0] ?? "");
    if (options["json"] === true) writeResult(JSON.stringify(result.json));
    else if (result.text !== "") writeResult(result.text);
  });
  return program;
}

function buildOption(name: string, { kind, group, summary, shownDefault }: Flag<unknown>): Option {
  const value = kind.placeholder === undefined ? "" : valueOf(kind, kind.placeholder);
  const choices = kind.choices && kind.choices.length > 1 ? `: ${kind.choices.join(", ")}` : "";
  const fallback = shownDefault === undefined ? "" : ` (default: ${shownDefault})`;
  const description = `${summary}${choices}${fallback}`;
  const option = new Option(`--${kebab(name)}${value}`, description).helpGroup(group);
  // The library takes --no-repeat-ngram for the switch that turns off --repeat-ngram.
  if (value !== "") option.negate = false;
  if (kind.isRepeatable === true)
    option.argParser((given: string, earlier: readonly string[] | undefined) => [...(earlier ?? []), given]);
  return option;
}

const valueOf = ({ whenAlone }: Flag<unknown>["kind"], placeholder: string): string =>
  whenAlone === undefined ? ` <${placeholder}>` : ` [${placeholder}]`;

function givenOn({ flags }: Command, options: Readonly<Record<string, unknown>>): Map<string, Given> {
  return new Map(
    Object.entries(flags).flatMap(([name, { kind }]): [string, Given][] => {
      const value = options[name];
      if (value === undefined) return [];
      return [
        [
          name,
          { value: typeof value === "string" ? kind.fromText(value) : value, where: `--${kebab(name)}` },
        ],
      ];
    }),
  );
}

/** commander's errors are about the command line as written; help and version are no errors. */
function usageError(error: CommanderError): DeltafitError {
  const [reason = "", suggestion] = error.message.replace(/^error: /, "").split("\n");
  const sentence =
    reason === "(outputHelp)" ? "Expected a command, found nothing." : `${capitalised(reason)}.`;
  const hint = suggestion?.replace(/^\(|\)$/g, "") ?? "--help lists commands and flags.";
  return new DeltafitError("usage-invalid", sentence, hint, error);
}

const capitalised = (sentence: string): string => sentence.charAt(0).toUpperCase() + sentence.slice(1);

async function main(words: readonly string[]): Promise<void> {
  const asked = { json: words.includes("--json"), debug: words.includes("--debug") };
  try {
    await buildProgram(await loadCommands(words)).parseAsync(words, { from: "user" });
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return;
    const reported = error instanceof CommanderError ? usageError(error) : asDeltafitError(error);
    reportError(reported, asked);
    process.exitCode = reported.exitCode;
  }
}

process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(0);
  throw error;
});
await main(process.argv.slice(2));
