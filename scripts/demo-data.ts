/**
 * @file The demonstration task, "attributes in, a sentence out": what the bundled base cannot do before training and
 * can do after it. Makes the examples and scores answers; it knows nothing of models.
 *
 *   npx tsx scripts/demo-data.ts --out DIR [--seed 1]
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { spell } from "./base-model/phrase.ts";
import { venueName } from "./base-model/plots-venues.ts";
import type { Random } from "./base-model/random.ts";
import { chance, createRandom, deriveSeed, pick } from "./base-model/random.ts";

/** One example; `prompt + completion` is the text to train on, with the separating space in the completion. */
export interface DemoExample {
  readonly prompt: string;
  readonly completion: string;
}

/** Attributes in the order in which a prompt states them. */
type Attributes = Readonly<Record<string, string>>;

const foods = [
  "Italian",
  "French",
  "English",
  "Indian",
  "Chinese",
  "Japanese",
  "Greek",
  "Spanish",
  "Mexican",
  "Thai",
  "Turkish",
];
const kinds = ["restaurant", "pub", "cafe", "coffee shop", "bistro", "tea room"];
const areas = ["riverside", "city centre", "old town", "harbour", "market square", "station"];
const prices = ["cheap", "moderate", "expensive"];
const ratings = ["1 out of 5", "2 out of 5", "3 out of 5", "4 out of 5", "5 out of 5"];

const areaPhrases: Readonly<Record<string, readonly string[]>> = {
  riverside: ["at the riverside", "in the riverside area"],
  "city centre": ["in the city centre"],
  "old town": ["in the old town"],
  harbour: ["near the harbour", "at the harbour"],
  "market square": ["next to the market square", "near the market square"],
  station: ["near the station", "close to the station"],
};
/** An adjective before the kind of place, and a clause with "with". */
const pricePhrases: Readonly<Record<string, readonly [string, string]>> = {
  cheap: ["cheap", "with low prices"],
  moderate: ["moderately priced", "with moderate prices"],
  expensive: ["expensive", "with high prices"],
};
const welcome = [
  "It is family-friendly.",
  "Families with children are welcome.",
  "It is a good place for families.",
];
const unwelcome = [
  "It is not family-friendly.",
  "Children are not allowed.",
  "It is not a place for children.",
];

/** The words by which an attribute's value counts as mentioned, where that isn't the value itself. */
const mentions: Readonly<Record<string, RegExp>> = {
  "price = cheap": /\b(?:cheap|low prices)\b/i,
  "price = moderate": /\bmoderate/i,
  "price = expensive": /\b(?:expensive|high prices)\b/i,
  "family friendly = yes":
    /(?<!\bnot )\bfamily-friendly|\bfamilies (?:with children )?are welcome|(?<!\bnot )\ba good place for families/i,
  "family friendly = no": /\bnot family-friendly|\bchildren are not allowed|\bnot a place for children/i,
};

function drawAttributes(random: Random): Attributes {
  const attributes: Record<string, string> = { name: venueName(random), kind: pick(random, kinds) };
  if (chance(random, 0.85)) {
    attributes["food"] = pick(random, foods);
  }
  attributes["area"] = pick(random, areas);
  if (chance(random, 0.8)) {
    attributes["price"] = pick(random, prices);
  }
  if (chance(random, 0.5)) {
    attributes["rating"] = pick(random, ratings);
  }
  if (chance(random, 0.7)) {
    attributes["family friendly"] = pick(random, ["yes", "no"]);
  }
  return attributes;
}

function firstSentence(random: Random, { name, kind, food, area, price }: Attributes): string {
  const where = pick(random, areaPhrases[area ?? ""] ?? []);
  const [adjective, clause] = pricePhrases[price ?? ""] ?? ["", ""];
  const described = `${adjective} ${food ?? ""} ${kind ?? ""}`.trim();
  const plain = `${food ?? ""} ${kind ?? ""}`.trim();
  const phrasings = [
    `${name ?? ""} is a~${described} ${where}.`,
    `${name ?? ""} is a~${plain} ${where} ${clause}.`,
    `There is a~${described} called ${name ?? ""} ${where}.`,
    `${where} there is a~${described} called ${name ?? ""}.`,
  ];
  if (food !== undefined) {
    phrasings.push(`${name ?? ""}, a~${adjective} ${kind ?? ""} ${where}, serves ${food} food.`);
  }
  return pick(random, phrasings).replace(/ {2,}/g, " ").replace("a~ ", "a~");
}

function realise(random: Random, attributes: Attributes): string {
  const sentences = [firstSentence(random, attributes)];
  const { rating } = attributes;
  if (rating !== undefined) {
    sentences.push(
      pick(random, [
        `Its customer rating is ${rating}.`,
        `It has a customer rating of ${rating}.`,
        `Customers rate it ${rating}.`,
      ]),
    );
  }
  const family = attributes["family friendly"];
  if (family !== undefined) {
    sentences.push(pick(random, family === "yes" ? welcome : unwelcome));
  }
  return sentences.map(spell).join(" ");
}

/** A third of all combinations, so that drawing new ones stays quick. */
const MAXIMUM_EXAMPLES = 10_000;

/** Everything but the name: two examples with the same combination ask for the same sentence plan. */
function combination(prompt: string): string {
  return prompt.split(" | ").slice(1).join(" | ");
}

/**
 * The first `count` examples of stream `seed`; no two share a combination of attributes (the name aside), so any two
 * parts of the list are disjoint in them. Throws a RangeError when `count` is more than 10000.
 */
export function demoExamples(seed: number, count: number): DemoExample[] {
  if (count > MAXIMUM_EXAMPLES) {
    throw new RangeError(
      `demoExamples: expected at most ${String(MAXIMUM_EXAMPLES)} examples, found a request for ${String(count)}.`,
    );
  }
  const examples: DemoExample[] = [];
  const combinations = new Set<string>();
  for (let index = 0; examples.length < count; index++) {
    const random = createRandom(deriveSeed(seed, index));
    const attributes = drawAttributes(random);
    const stated = Object.entries(attributes).map(([key, value]) => `${key} = ${value}`);
    const prompt = `${stated.join(" | ")} =>`;
    if (!combinations.has(combination(prompt))) {
      combinations.add(combination(prompt));
      examples.push({ prompt, completion: ` ${realise(random, attributes)}` });
    }
  }
  return examples;
}

/** The demonstration's data: 1600 examples to train on and 60 held out, with disjoint attribute combinations. */
export function demoSplit(seed: number): { readonly train: DemoExample[]; readonly heldOut: DemoExample[] } {
  const examples = demoExamples(seed, 1660);
  return { train: examples.slice(0, 1600), heldOut: examples.slice(1600) };
}

/**
 * The share of a prompt's attributes that a text mentions, from 0 to 1. Yes-or-no attributes and prices count by
 * their usual wordings, everything else by its value; letter case does not matter.
 */
export function slotCoverage(prompt: string, text: string): number {
  const stated = prompt
    .replace(/\s*=>\s*$/, "")
    .split(" | ")
    .filter((attribute) => attribute.includes(" = "));
  const mentioned = stated.filter((attribute) => {
    const value = attribute.slice(attribute.indexOf(" = ") + 3);
    return mentions[attribute]?.test(text) ?? text.toLowerCase().includes(value.toLowerCase());
  });
  return stated.length === 0 ? 0 : mentioned.length / stated.length;
}

function jsonLines(examples: readonly DemoExample[]): string {
  return examples.map((example) => `${JSON.stringify(example)}\n`).join("");
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: { out: { type: "string" }, seed: { type: "string", default: "1" } },
  });
  if (values.out === undefined) {
    process.stderr.write("Usage: demo-data.ts --out DIR [--seed INTEGER]\n");
    process.exitCode = 2;
  } else {
    const { train, heldOut } = demoSplit(Number(values.seed));
    mkdirSync(values.out, { recursive: true });
    writeFileSync(join(values.out, "train.jsonl"), jsonLines(train));
    writeFileSync(join(values.out, "held-out.jsonl"), jsonLines(heldOut));
  }
}
