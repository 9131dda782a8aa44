/**
 * @file What a flag is: a name, the kind of its value, its place in the help. One table a command serves the command
 * line, YAML files and `--set` alike, so that all three are checked by the same schema. Knows no command.
 */
import { z } from "zod";
import { DeltafitError } from "../errors.ts";
import { quote } from "../files/quote.ts";

/** What values of a kind look like, as text and once read. */
export interface Kind<Value> {
  /** Stands for the value in the help; `undefined` for switches, which have none. */
  readonly placeholder: string | undefined;
  /** As in `expected ..., found ...`. */
  readonly expected: string;
  readonly schema: z.ZodType<Value>;
  /** What a text means before it is held against the schema. */
  readonly fromText: (text: string) => unknown;
  /** The names a value is one of, for the help. */
  readonly choices?: readonly string[];
  /** What the flag means where no value follows it. */
  readonly whenAlone?: Value;
  /** Whether the flag may come several times, each time with one entry. */
  readonly isRepeatable?: boolean;
  /** Whether `--set name.key=value` reaches its entries. */
  readonly hasKeys?: boolean;
}

const asWritten = (text: string): string => text;

/** Text that is no number stays text, for the schema to refuse. */
export function numberFromText(text: string): unknown {
  const value = Number(text);
  return text.trim() === "" || Number.isNaN(value) ? text : value;
}

export const text = (placeholder: string): Kind<string> => ({
  placeholder,
  expected: "a text",
  schema: z.string().min(1),
  fromText: asWritten,
});

export const wholeNumber = (minimum: number): Kind<number> => ({
  placeholder: "N",
  expected: `a whole number of at least ${minimum}`,
  schema: z.int().min(minimum),
  fromText: numberFromText,
});

interface Range {
  readonly atLeast?: number;
  readonly above?: number;
  readonly atMost?: number;
  readonly below?: number;
}

export function numberIn({ atLeast, above, atMost, below }: Range): Kind<number> {
  const limits = [
    ...(atLeast === undefined ? [] : [`of at least ${atLeast}`]),
    ...(above === undefined ? [] : [`above ${above}`]),
    ...(atMost === undefined ? [] : [`at most ${atMost}`]),
    ...(below === undefined ? [] : [`below ${below}`]),
  ];
  const holds = (value: number): boolean =>
    value >= (atLeast ?? -Infinity) &&
    value > (above ?? -Infinity) &&
    value <= (atMost ?? Infinity) &&
    value < (below ?? Infinity);
  return {
    placeholder: "X",
    expected: ["a number", limits.join(" and ")].join(limits.length === 0 ? "" : " "),
    schema: z.number().refine(holds),
    fromText: numberFromText,
  };
}

/** @param note Said after the choices where one is refused. */
export const choice = <const Name extends string>(names: readonly Name[], note = ""): Kind<Name> => ({
  placeholder: "NAME",
  choices: names,
  expected: `${listed(names)}${note}`,
  schema: z.enum(names),
  fromText: asWritten,
});

function listed(names: readonly string[]): string {
  const last = names.at(-1) ?? "";
  return names.length < 2 ? last : `${names.slice(0, -1).join(", ")} or ${last}`;
}

const splitAtCommas = (text: string): string[] =>
  text
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "");

export const names = (placeholder = "A,B"): Kind<readonly string[]> => ({
  placeholder,
  expected: "names with commas between them",
  schema: z.array(z.string().min(1)).min(1),
  fromText: splitAtCommas,
});

export const wholeNumbers: Kind<readonly number[]> = {
  placeholder: "N,M",
  expected: "whole numbers of at least 0 with commas between them",
  schema: z.array(z.int().min(0)).min(1),
  fromText: (given) => splitAtCommas(given).map(numberFromText),
};

/** Texts that may hold commas: the flag is repeated instead. */
export const texts = (placeholder: string): Kind<readonly string[]> => ({
  placeholder,
  expected: "a text or a list of texts",
  schema: z.array(z.string().min(1)).min(1),
  fromText: (given) => [given],
  isRepeatable: true,
});

export const numbersByName: Kind<Readonly<Record<string, number>>> = {
  placeholder: "NAME=N,...",
  expected: "numbers above 0 by name, such as q_proj=4",
  schema: z.record(z.string(), z.number().positive()),
  fromText: (given) => Object.fromEntries(splitAtCommas(given).map(numberByName)),
  hasKeys: true,
};

function numberByName(entry: string): readonly [string, unknown] {
  const at = entry.lastIndexOf("=");
  return at < 0 ? [entry, undefined] : [entry.slice(0, at), numberFromText(entry.slice(at + 1))];
}

const isSet: Kind<boolean> = {
  placeholder: undefined,
  expected: "true or false",
  schema: z.boolean(),
  fromText: (given) => (given === "true" ? true : given === "false" ? false : given),
};

/** A switch that may also be left to deltafit. */
const switchOrAuto: Kind<boolean | "auto"> = {
  placeholder: "auto",
  expected: "auto, true or false",
  schema: z.union([z.boolean(), z.literal("auto")]),
  fromText: isSet.fromText,
  whenAlone: true,
};

/** A flag of a command; `Value` is what the command sees. */
export interface Flag<Value> {
  readonly kind: Kind<unknown>;
  /** Heading it stands under in the help. */
  readonly group: string;
  readonly summary: string;
  /** What the help says happens without it. */
  readonly shownDefault: string | undefined;
  /** The value where nothing is given. */
  readonly whenMissing: (flagName: string) => Value;
}

/** Flags by their name in the API: `learningRate` is `--learning-rate` and, in a file, `learning-rate:`. */
export type FlagTable = Readonly<Record<string, Flag<unknown>>>;

export type FlagValues<Table extends FlagTable> = {
  readonly [Name in keyof Table]: Table[Name] extends Flag<infer Value> ? Value : never;
};

/** A flag without which the command decides by itself. */
export function optional<Value>(
  kind: Kind<Value>,
  group: string,
  summary: string,
  shownDefault?: string,
): Flag<Value | undefined> {
  return { kind, group, summary, shownDefault, whenMissing: () => undefined };
}

export function withDefault<Value extends string | number>(
  kind: Kind<Value>,
  group: string,
  fallback: NoInfer<Value>,
  summary: string,
): Flag<Value> {
  return { kind, group, summary, shownDefault: String(fallback), whenMissing: () => fallback };
}

export function needed<Value>(kind: Kind<Value>, group: string, summary: string): Flag<Value> {
  return {
    kind,
    group,
    summary,
    shownDefault: undefined,
    whenMissing(flagName) {
      throw new DeltafitError(
        "usage-invalid",
        `${flagName} is needed: expected ${kind.expected}, found nothing.`,
      );
    },
  };
}

/** A switch with a third value, off where it is not given. */
export function switchedOrAuto(group: string, summary: string): Flag<boolean | "auto"> {
  return { kind: switchOrAuto, group, summary, shownDefault: undefined, whenMissing: () => false };
}

export function switched(group: string, summary: string): Flag<boolean> {
  return { kind: isSet, group, summary, shownDefault: undefined, whenMissing: () => false };
}

/** `learningRate` as it is spelt on the command line and in files. */
export const kebab = (name: string): string => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

/** A value before it is checked, and where it was given. */
export interface Given {
  readonly value: unknown;
  /** As a message names it: `--rank`, or `"run.yaml", rank`. */
  readonly where: string;
}

/**
 * The values of a table's flags.
 * @param given By names in the API.
 * @throws DeltafitError `usage-invalid` naming the flag, what was expected and what was found.
 */
export function readValues<Table extends FlagTable>(
  table: Table,
  given: ReadonlyMap<string, Given>,
): FlagValues<Table> {
  const entries = Object.entries(table).map(([name, flag]): [string, unknown] => {
    const found = given.get(name);
    return [name, found === undefined ? flag.whenMissing(`--${kebab(name)}`) : checked(flag.kind, found)];
  });
  return Object.fromEntries(entries) as FlagValues<Table>;
}

function checked(kind: Kind<unknown>, { value, where }: Given): unknown {
  const result = kind.schema.safeParse(value);
  if (result.success) return result.data;
  throw new DeltafitError("usage-invalid", `${where}: expected ${kind.expected}, found ${shown(value)}.`);
}

function shown(value: unknown): string {
  if (typeof value === "string") return quote(value);
  if (value === undefined) return "nothing";
  // JSON has no infinity.
  if (typeof value === "number") return String(value);
  const json = JSON.stringify(value);
  return json.length > 80 ? `${json.slice(0, 80)}...` : json;
}
