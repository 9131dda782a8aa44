/** @file What a command is: its name, its flags, what it does with them, and what it hands back to be printed. */
import { applySettings, readConfigFile } from "./config-file.ts";
import { optional, readValues, switched, text, texts } from "./flags.ts";
import type { FlagTable, FlagValues, Given } from "./flags.ts";
import { createTerminal } from "./terminal.ts";
import type { Terminal } from "./terminal.ts";

/** What a command found or made, for a program and for a person. */
export interface CommandResult {
  readonly json: Readonly<Record<string, unknown>>;
  /** Without the last line break; "" where it was streamed. */
  readonly text: string;
}

interface CommandDescription {
  /** Words after `deltafit`, such as "bench step". */
  readonly name: string;
  readonly summary: string;
  /** Shown under the help. */
  readonly example: string;
  readonly argument?: { readonly name: string; readonly summary: string };
}

interface CommandDefinition<Table extends FlagTable> extends CommandDescription {
  readonly flags: Table;
  /** @param argument "" where the command has none. */
  readonly run: (values: FlagValues<Table>, terminal: Terminal, argument: string) => Promise<CommandResult>;
}

/** A command whose flags are no longer seen from outside. */
export interface Command extends CommandDescription {
  readonly flags: FlagTable;
  /** @param given What the command line says, by names in the API. */
  readonly execute: (given: ReadonlyMap<string, Given>, argument: string) => Promise<CommandResult>;
}

const group = "General:";

/** The flags of every command: they are about this call, and so stand in no file. */
const commonFlags = {
  config: optional(text("FILE"), group, "YAML file with flags, named without the dashes"),
  set: optional(texts("NAME=VALUE"), group, "set a flag, or an entry such as rank-pattern.q_proj"),
  json: switched(group, "print one JSON object"),
  quiet: switched(group, "say nothing but results, warnings and errors"),
  debug: switched(group, "show where in the code an error comes from"),
} satisfies FlagTable;

export function defineCommand<Table extends FlagTable>(definition: CommandDefinition<Table>): Command {
  const { name, summary, example, argument, run } = definition;
  const flags = { ...definition.flags, ...commonFlags };
  return {
    name,
    summary,
    example,
    ...(argument && { argument }),
    flags,
    async execute(onCommandLine, givenArgument) {
      const { config, set = [], ...output } = readValues(commonFlags, onCommandLine);
      const given = new Map(config === undefined ? [] : await readConfigFile(config, definition.flags));
      for (const [flag, value] of onCommandLine) given.set(flag, value);
      applySettings(set, definition.flags, given);
      const terminal = createTerminal(output);
      return run(readValues(definition.flags, given), terminal, givenArgument);
    },
  };
}
