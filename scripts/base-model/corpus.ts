/**
 * @file The corpus of the bundled base model: an endless, seeded stream of short English documents. Document `index`
 * of seed `seed` is always the same text, whatever was generated before it.
 */
import { tellChat } from "./chat.ts";
import { tellDialogue } from "./dialogues.ts";
import { tellFacts, tellList } from "./facts.ts";
import { lexicon } from "./lexicon.ts";
import type { Scene } from "./phrase.ts";
import { createScene } from "./phrase.ts";
import type { Plot } from "./plot.ts";
import { askAbout, castScene, tellPlot } from "./plot.ts";
import { homePlots } from "./plots-home.ts";
import { morePlots } from "./plots-more.ts";
import { peoplePlots } from "./plots-people.ts";
import { townPlots } from "./plots-town.ts";
import { venuePlots } from "./plots-venues.ts";
import { createRandom, deriveSeed, integerBetween, pick, pickWeighted } from "./random.ts";

const storyPlots: readonly Plot[] = [...townPlots, ...homePlots, ...peoplePlots, ...morePlots];

function story(scene: Scene, plots: readonly Plot[]): string {
  castScene(scene);
  return tellPlot(scene, pick(scene.random, plots));
}

function twoStories(scene: Scene): string {
  const second = createScene(scene.random, scene.lexicon);
  return `${story(scene, storyPlots)}\n\n${story(second, storyPlots)}`;
}

function storyWithQuestions(scene: Scene, plots: readonly Plot[]): string {
  castScene(scene);
  const plot = pick(scene.random, plots);
  const text = tellPlot(scene, plot);
  const pairs = askAbout(scene, plot, integerBetween(scene.random, 1, 3));
  const style = pick(scene.random, ["inline", "lines", "labels"]);
  const asked = pairs.map(({ question, answer }) =>
    style === "labels" ? `Question: ${question}\nAnswer: ${answer}` : `${question} ${answer}`,
  );
  return style === "inline" ? [text, ...asked].join(" ") : [text, ...asked].join("\n");
}

/** Kinds of documents with their weights in per cent. */
const kinds: readonly (readonly [number, (scene: Scene) => string])[] = [
  [22, (scene) => story(scene, storyPlots)],
  [5, twoStories],
  [17, (scene) => storyWithQuestions(scene, storyPlots)],
  [14, (scene) => story(scene, venuePlots)],
  [6, (scene) => storyWithQuestions(scene, venuePlots)],
  [11, tellDialogue],
  [9, tellFacts],
  [3, tellList],
  [13, tellChat],
];

/** Document `index` of the stream `seed`. */
export function generateDocument(seed: number, index: number): string {
  const random = createRandom(deriveSeed(seed, index));
  const tellDocument = pickWeighted(random, kinds);
  return tellDocument(createScene(random, lexicon));
}

/**
 * The first `count` documents of the stream `seed`, each without a final end-of-text token. Chat documents are in the
 * chat format with its special tokens written out.
 */
export function* generateDocuments(seed: number, count: number): Iterable<string> {
  for (let index = 0; index < count; index++) {
    yield generateDocument(seed, index);
  }
}
