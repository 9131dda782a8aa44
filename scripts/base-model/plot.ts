/**
 * @file What a story is made of: lines with alternatives, some of them optional, and questions a reader can answer
 * from the lines. It knows how a plot becomes text, not what any plot says.
 */
import { capitalise } from "./phrase.ts";
import type { Scene } from "./phrase.ts";
import { canSay, remember, say } from "./phrase.ts";
import { femaleElders, femaleKin, femaleNames, maleElders, maleKin, maleNames } from "./words-people.ts";
import { chance, pick, shuffled } from "./random.ts";

/** One line of a plot: a choice of templates, left out with probability 1 - `probability`. */
export interface Line {
  readonly choices: readonly string[];
  readonly probability: number;
}

/** A plot: its lines in order, and [question, answer] templates about what the lines remember. */
export interface Plot {
  readonly lines: readonly Line[];
  readonly questions: readonly (readonly [string, string])[];
  /** What stands between two lines; a space if left out. */
  readonly separator?: string;
}

/** A question with its answer, as text. */
export interface QuestionAndAnswer {
  readonly question: string;
  readonly answer: string;
}

/** A line that is always told. */
export function tell(...choices: string[]): Line {
  return { choices, probability: 1 };
}

/** A line that is told about half of the time. */
export function maybe(...choices: string[]): Line {
  return { choices, probability: 0.5 };
}

const pronouns = {
  female: { he: "she", him: "her", his: "her", himself: "herself", boy: "girl", son: "daughter" },
  male: { he: "he", him: "him", his: "his", himself: "himself", boy: "boy", son: "son" },
} as const;

/**
 * Casts a scene: `A` is the main person, `B` another of the other sex and `elder` an older relative or a boss, so
 * that "he" and "she" are never in doubt between A and B. The pronouns of B end in 2, those of the elder in 3.
 */
export function castScene(scene: Scene): void {
  const sexOfA = chance(scene.random, 0.5) ? "female" : "male";
  const sexOfB = sexOfA === "female" ? "male" : "female";
  remember(scene, "A", pick(scene.random, sexOfA === "female" ? femaleNames : maleNames));
  remember(scene, "B", pick(scene.random, sexOfB === "female" ? femaleNames : maleNames));
  const relativesOfA = sexOfA === "female" ? [femaleKin, femaleElders] : [maleKin, maleElders];
  remember(scene, "relativeOfA", pick(scene.random, pick(scene.random, relativesOfA).rows)[0] ?? "");
  const kin = sexOfB === "female" ? femaleKin : maleKin;
  const elders = sexOfB === "female" ? femaleElders : maleElders;
  remember(scene, "kin", pick(scene.random, kin.rows)[0] ?? "");
  remember(scene, "elder", pick(scene.random, elders.rows)[0] ?? "");
  for (const [key, word] of Object.entries(pronouns[sexOfA])) {
    remember(scene, key, word);
  }
  for (const [key, word] of Object.entries(pronouns[sexOfB])) {
    remember(scene, `${key}2`, word);
    remember(scene, `${key}3`, word);
  }
}

/** Tells a plot as text. */
export function tellPlot(scene: Scene, plot: Plot): string {
  const told: string[] = [];
  for (const line of plot.lines) {
    const sayable = line.choices.filter((choice) => canSay(scene, choice));
    if (line.probability >= 1 && sayable.length === 0) {
      throw new RangeError(`Nothing of this line can be said: "${line.choices.join('", "')}".`);
    }
    if (sayable.length > 0 && (line.probability >= 1 || chance(scene.random, line.probability))) {
      told.push(say(scene, pick(scene.random, sayable)));
    }
  }
  return told.join(plot.separator ?? " ");
}

/** Up to `count` questions about what was told, each with its answer. */
export function askAbout(scene: Scene, plot: Plot, count: number): QuestionAndAnswer[] {
  const askable = plot.questions.filter(
    ([question, answer]) => canSay(scene, question) && canSay(scene, answer),
  );
  return shuffled(scene.random, askable)
    .slice(0, count)
    .map(([question, answer]) => ({
      question: capitalise(say(scene, question)),
      answer: capitalise(say(scene, answer)),
    }));
}
