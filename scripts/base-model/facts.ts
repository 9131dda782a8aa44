/** @file Small facts with their questions: opposites, colours, animals, days, capitals, tools, sums, lists and prices. */
import type { QuestionAndAnswer } from "./plot.ts";
import type { Scene } from "./phrase.ts";
import { capitalise, remember, say } from "./phrase.ts";
import { integerBetween, pick, shuffled } from "./random.ts";
import { fruits, vegetables } from "./words-food.ts";
import { months, weekdays } from "./words-world.ts";
import { wordForNumber } from "./words-moments.ts";

/** A statement together with a question it answers. */
export interface Fact extends QuestionAndAnswer {
  readonly statement: string;
}

/** [statement, question, answer] templates that share what the statement remembers. */
const tableFacts: readonly (readonly [string, string, string])[] = [
  [
    "The opposite of {@opposite.left:o} is {o.right}.",
    "What is the opposite of {o.left}?",
    "The opposite of {o.left} is {o.right}.",
  ],
  [
    "{^@opposite.right:o} is the opposite of {o.left}.",
    "What is the opposite of {o.right}?",
    "It is {o.left}.",
  ],
  [
    "If something is not {@opposite.left:o}, it may be {o.right}.",
    "What is the opposite of {o.left}?",
    "{^o.right}.",
  ],
  ["{^@colourFact.thing:c} is {c.colour}.", "What colour is {c.thing}?", "{^c.thing} is {c.colour}."],
  ["{^@colourFact.thing:c} is {c.colour}.", "What colour is {c.thing}?", "It is {c.colour}."],
  ["A~{@animal:a} {a.sound}.", "What does a~{a} do?", "A~{a} {a.sound}."],
  ["A~{@animal:a} has {a.legs} legs.", "How many legs does a~{a} have?", "A~{a} has {a.legs} legs."],
  ["{^@animal.many:a} eat {a.eats}.", "What do {a.many} eat?", "They eat {a.eats}."],
  ["{^@animal.many:a} live {a.home}.", "Where do {a.many} live?", "{^a.many} live {a.home}."],
  ["A young {@animal:a} is called a~{a.young}.", "What is a young {a} called?", "It is called a~{a.young}."],
  [
    "{^@capital:k} is the capital of {k.country}.",
    "What is the capital of {k.country}?",
    "The capital of {k.country} is {k}.",
  ],
  [
    "The capital of {@capital.country:k} is {k.capital}.",
    "Which city is the capital of {k.country}?",
    "It is {k.capital}.",
  ],
  [
    "In {@capital.country:k} people speak {k.language}.",
    "Which language do people speak in {k.country}?",
    "They speak {k.language}.",
  ],
  ["{^@tool:t} is used to {t.use}.", "What is {t} used for?", "It is used to {t.use}."],
  ["You need {@tool:t} to {t.use}.", "What do you need to {t.use}?", "You need {t}."],
  ["A~{@job:j} {j.third}.", "What does a~{j} do?", "A~{j} {j.third}."],
  ["{^@kindOf:w} is a~{w.kind}.", "What is {w}?", "{^w} is a~{w.kind}."],
  ["{^@kindOf:w} is a~{w.kind}.", "Is {w} a~{w.kind}?", "Yes, {w} is a~{w.kind}."],
  ["{@anyName:p} {@act:v}, and {@anyName:q} {@act:u}.", "{p} {v}, and {q} {u}. What did {p} do?", "{p} {v}."],
  ["{@anyName:p} is {@act.ing:v}.", "{p} is {v.ing}. What is {p} doing?", "{p} is {v.ing}."],
  [
    "{@anyName:p} will {@act.base:v} {@dayTime:d}.",
    "{p} will {v.base} {d}. When will {p} {v.base}?",
    "{p} will {v.base} {d}.",
  ],
  [
    "{@anyName:p} did not {@act.base:v}, because {@badWeather:b}.",
    "{p} did not {v.base}, because {b}. Why not?",
    "Because {b}.",
  ],
  [
    "{@anyName:p} can {@act.base:v}, but {@anyName:q} cannot.",
    "{p} can {v.base}, but {q} cannot. Who can {v.base}?",
    "{p} can.",
  ],
  [
    "{@anyName:p} has to {@act.base:v} before {@weekday:d}.",
    "{p} has to {v.base} before {d}. What does {p} have to do?",
    "{p} has to {v.base}.",
  ],
  ["A~{@job:j} works {j.where}.", "Where does a~{j} work?", "A~{j} works {j.where}."],
];

function bindSuccession(scene: Scene, list: readonly (readonly string[])[], what: string): Fact {
  const at = integerBetween(scene.random, 0, list.length - 1);
  const name = (index: number): string => list[(index + list.length) % list.length]?.[0] ?? "";
  return pick(scene.random, [
    {
      statement: `After ${name(at)} comes ${name(at + 1)}.`,
      question: `Which ${what} comes after ${name(at)}?`,
      answer: `${name(at + 1)} comes after ${name(at)}.`,
    },
    {
      statement: `Before ${name(at)} comes ${name(at - 1)}.`,
      question: `Which ${what} comes before ${name(at)}?`,
      answer: `${name(at - 1)} comes before ${name(at)}.`,
    },
    {
      statement: `${name(at)} is between ${name(at - 1)} and ${name(at + 1)}.`,
      question: `Which ${what} is between ${name(at - 1)} and ${name(at + 1)}?`,
      answer: `It is ${name(at)}.`,
    },
  ]);
}

function sumFact(scene: Scene): Fact {
  const left = integerBetween(scene.random, 2, 10);
  const right = integerBetween(scene.random, 2, 10);
  const [a, b, sum] = [wordForNumber(left), wordForNumber(right), wordForNumber(left + right)];
  const plain = {
    statement: `${capitalise(a)} and ${b} is ${sum}.`,
    question: `What is ${a} and ${b}?`,
    answer: `${capitalise(a)} and ${b} is ${sum}.`,
  };
  const digits = {
    statement: `${String(left)} + ${String(right)} = ${String(left + right)}.`,
    question: `How much is ${String(left)} + ${String(right)}?`,
    answer: `${String(left)} + ${String(right)} = ${String(left + right)}.`,
  };
  return pick(scene.random, [plain, digits]);
}

function priceFact(scene: Scene): Fact {
  const each = integerBetween(scene.random, 1, 5);
  const count = integerBetween(scene.random, 2, 5);
  const goods = pick(scene.random, [...fruits.rows, ...vegetables.rows]);
  const [one, many] = [goods[0] ?? "", goods[1] ?? ""];
  remember(scene, "one", one);
  const pounds = each === 1 ? "one pound" : `${wordForNumber(each)} pounds`;
  return {
    statement: `A kilo of ${many} costs ${pounds}, so ${wordForNumber(count)} kilos cost ${wordForNumberOrDigits(each * count)} pounds.`,
    question: `A kilo of ${many} costs ${pounds}. How much are ${wordForNumber(count)} kilos?`,
    answer: `${capitalise(wordForNumber(count))} kilos cost ${wordForNumberOrDigits(each * count)} pounds.`,
  };
}

function wordForNumberOrDigits(value: number): string {
  return value === 1 ? "one" : wordForNumber(value);
}

/** One fact; scenes may be reused, which keeps the rows of one document apart. */
export function tellFact(scene: Scene): Fact {
  const kind = scene.random.next();
  if (kind < 0.1) {
    return bindSuccession(scene, weekdays.rows, "day");
  }
  if (kind < 0.18) {
    return bindSuccession(scene, months.rows, "month");
  }
  if (kind < 0.28) {
    return sumFact(scene);
  }
  if (kind < 0.34) {
    return priceFact(scene);
  }
  const [statement, question, answer] = pick(scene.random, tableFacts);
  return { statement: say(scene, statement), question: say(scene, question), answer: say(scene, answer) };
}

const LISTS: readonly (readonly [string, string])[] = [
  ["Shopping list", "{@shortage}"],
  ["Things for the soup", "{@ingredient}"],
  ["Things to buy", "{@purchase}"],
  ["Things to do today", "{@chore.base}"],
  ["Plans for the weekend", "{@hobby.base}"],
  ["What to pack", "{@thing}"],
  ["Fruit in the basket", "{@fruit.many}"],
  ["Vegetables for the soup", "{@vegetable.many}"],
  ["Animals that we saw", "{@outdoorAnimal.many}"],
  ["Presents", "{@gift}"],
  ["Menu", "{@meal}, {@mealPrice}"],
  ["Drinks", "{@drink}, {@smallPrice}"],
  ["Timetable", "{@earlyClock}: {@subject}"],
  ["Buses to {@town}", "{@clock}"],
  ["Words to learn", "{@kindOf.bare}"],
  ["Guests", "{@anyName} {@surname}"],
];

/** A titled list, one entry a line. */
export function tellList(scene: Scene): string {
  const [title, entry] = pick(scene.random, LISTS);
  const count = integerBetween(scene.random, 3, 6);
  const entries = new Set(Array.from({ length: count }, () => say(scene, entry)));
  const mark = pick(scene.random, ["- ", "* ", "numbers", ""]);
  const lines = [...entries].map(
    (line, index) => (mark === "numbers" ? `${String(index + 1)}. ` : mark) + line,
  );
  return `${say(scene, title)}:\n${lines.join("\n")}`;
}

/** Several facts as running text, in any order. */
export function tellFacts(scene: Scene): string {
  const count = integerBetween(scene.random, 2, 5);
  const facts = Array.from({ length: count }, () => tellFact(scene));
  if (scene.random.next() < 0.5) {
    return shuffled(scene.random, [...new Set(facts.map((fact) => fact.statement))]).join(" ");
  }
  const lines = new Set(facts.map((fact) => `${fact.question} ${fact.answer}`));
  return [...lines].join("\n");
}
