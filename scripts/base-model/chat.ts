/** @file Conversations between a user and an assistant, rendered in the base's chat format. */
import type { ChatTurn } from "./chat-template.ts";
import { renderChat } from "./chat-template.ts";
import { tellFact } from "./facts.ts";
import type { Scene } from "./phrase.ts";
import { createScene, say } from "./phrase.ts";
import type { Plot } from "./plot.ts";
import { askAbout, castScene, tellPlot } from "./plot.ts";
import { homePlots } from "./plots-home.ts";
import { peoplePlots } from "./plots-people.ts";
import { townPlots } from "./plots-town.ts";
import { describingPlots, venuePlots } from "./plots-venues.ts";
import { chance, integerBetween, pick, pickWeighted } from "./random.ts";

/** Alternating templates, the user first. */
const smallTalk: readonly (readonly string[])[] = [
  [
    "(Hello!|Hi!|Good morning!|Hello there!|Good evening!)",
    "(Hello!|Hi!|Hello, nice to meet you!) (How can I help you?|What can I do for you?)",
  ],
  ["(Thank you|Thanks)(!| for your help!)", "(You are welcome!|My pleasure!|I am glad that I could help.)"],
  ["How are you(| today)?", "(I am fine, thank you.|Very well, thank you.) (How can I help you?|And you?)"],
  [
    "What should I take with me (when|if) {@weather.is:w}?",
    "(Take|You should take) {w.take} with you(.|, because {w.is}.)",
  ],
  ["{^@weather.is:w}. What should I (wear|take)?", "(Take|I would take) {w.take}."],
  ["What can I (cook|make) with {@homeDish.needs:dish}?", "You (can|could) make {dish} with {dish.needs}."],
  [
    "(Can you give me|I need) an idea for a present for my {@relative:who}.",
    "(How about|What about) {@gift:gift}? (It is a lovely present.|Many people would like that.|Or you could give {@gift}.)",
  ],
  [
    "I have {@ailment:ill}. What should I do?",
    "I am sorry to hear that. (Drink {@hotDrink}, rest and see a doctor if you do not feel better.|Stay in bed, drink {@hotDrink} and sleep a lot.)",
  ],
  [
    "I am {@unhappy:mood} today.",
    "I am sorry to hear that. (Would you like to talk about it?|Maybe you could {@pastime.base} or {@hobby.base}.)",
  ],
  ["I am {@glad:mood} today(.|!)", "(That is good to hear!|How nice!) (What happened?|I am glad.)"],
  [
    "What can I do (on {@weekday:day}|at the weekend|this evening)?",
    "You could {@hobby.base:one} or {@pastime.base:two}.",
  ],
  ["{^@weather.is}. What can we do at home?", "You (can|could) {@pastime.base:one} or {@pastime.base:two}."],
  ["Where can I buy {@purchase:item}?", "You can buy {item} at {item.shop}."],
  [
    "Do you know a~{@cuisine:food} restaurant {@area:area}?",
    "(Yes. |)(Try|You could try) {@venue:venue}. It (serves|is known for) {food.dish}.",
  ],
  ["I am hungry. What should I eat?", "(How about|What about) {@meal:meal} and {@drink:drink}?"],
  [
    "Please give me the names of {@anyName:p}'s friends: {@anyName:one}, {@anyName:two} and {@anyName:three}.",
    "The friends of {p} are {one}, {two} and {three}.",
  ],
  ["My name is {@anyName:p} and I (come from|live in) {@town:t}. What is my name?", "Your name is {p}."],
  ["My name is {@anyName:p} and I live in {@town:t}. Where do I live?", "You live in {t}."],
  ["Please say that {@anyName:p} {@pastime:act}.", "{p} {act}."],
  ["Put this into the past: {@anyName:p} {@chore.third:act}.", "{p} {act.past}."],
  ["Put this into the future: {@anyName:p} {@pastime.third:act}.", "{p} will {act.base}."],
  ["Put this into the present: {@anyName:p} {@pastime.past:act}.", "{p} {act.third}."],
  ["Make a question: {@anyName:p} {@chore.past:act}.", "Did {p} {act.base}?"],
  ["Say no: {@anyName:p} {@pastime.past:act}.", "{p} did not {act.base}."],
  ['What is the plural of "{@fruit:f}"?', 'The plural of "{f}" is "{f.many}".'],
  ["Name (three|some) (fruits|kinds of fruit).", "{^@fruit.many}, {@fruit.many} and {@fruit.many}."],
  ["Name (three|some) vegetables.", "{^@vegetable.many}, {@vegetable.many} and {@vegetable.many}."],
  ["Name (three|some) colours.", "{^@colour}, {@colour} and {@colour}."],
  ["What is {@kindOf:w}?", "{^w} is a~{w.kind}."],
  ["Put this into the past: {@anyName:p} {@act.third:v}.", "{p} {v.past}."],
  ["Make a question: {@anyName:p} {@act.past:v}.", "Did {p} {v.base}?"],
  ["Say no: {@anyName:p} {@act.past:v}.", "{p} did not {v.base}."],
  ["Write a sentence with the word {@kindOf.bare:w}.", "{^w} is a~{w.kind}."],
  ["Name (three|some) animals.", "{^@animal.many}, {@animal.many} and {@outdoorAnimal.many}."],
  [
    "Write a sentence with the word {@thing:t}.",
    "(I left my {t} {@spot}.|{@anyName} has lost a~{t}.|There is a {@colour} {t} {@spot}.)",
  ],
];

const moreFacts = [
  "Thank you. {question}",
  "And {lower}",
  "{question}",
  "I have another question. {question}",
] as const;

const storyRequests = [
  "Tell me a short story about {A}.",
  "Write a few sentences about {A}.",
  "Can you tell me something about {A}?",
  "Please write a short text about {A}.",
  "What happened to {A}?",
] as const;
const venueRequests = [
  "Tell me about {venue}.",
  "What do you know about {venue}?",
  "Please describe {venue}.",
  "Is {venue} a good place to eat?",
  "Write a short text about {venue}.",
] as const;
const passageRequests = [
  "{story}\n{question}",
  "Read this: {story}\n{question}",
  "{story} {question}",
  "Here is a text: {story}\nMy question is: {question}",
  "{question}\n{story}",
] as const;

function smallTalkTurns(scene: Scene): ChatTurn[] {
  return pick(scene.random, smallTalk).map((template, index) => ({
    role: index % 2 === 0 ? "user" : "assistant",
    content: say(scene, template),
  }));
}

function factTurns(scene: Scene): ChatTurn[] {
  const turns: ChatTurn[] = [];
  const count = integerBetween(scene.random, 1, 3);
  for (let index = 0; index < count; index++) {
    const { question, answer } = tellFact(scene);
    const form = index === 0 ? "{question}" : pick(scene.random, moreFacts);
    const startsWithName = !/^(?:What|Which|Where|How|Is|A)\b/.test(question);
    const lower = startsWithName ? question : question.slice(0, 1).toLowerCase() + question.slice(1);
    const content = form.replace("{question}", question).replace("{lower}", lower);
    turns.push({ role: "user", content }, { role: "assistant", content: answer });
  }
  return turns;
}

function plotTurns(scene: Scene, plots: readonly Plot[], requests: readonly string[]): ChatTurn[] {
  castScene(scene);
  const plot = pick(scene.random, plots);
  const story = tellPlot(scene, plot);
  const subjects = requests.filter(
    (request) => !request.includes("{venue}") || scene.remembered.has("venue"),
  );
  const questions = askAbout(scene, plot, integerBetween(scene.random, 1, 2));
  const first = questions[0];
  if (first !== undefined && (subjects.length === 0 || chance(scene.random, 0.5))) {
    const content = pick(scene.random, passageRequests)
      .replace("{story}", story)
      .replace("{question}", first.question);
    return [
      { role: "user", content },
      { role: "assistant", content: first.answer },
      ...followUps(questions.slice(1)),
    ];
  }
  const request =
    subjects.length === 0 ? "Please write a short text." : say(scene, pick(scene.random, subjects));
  return [{ role: "user", content: request }, { role: "assistant", content: story }, ...followUps(questions)];
}

function followUps(questions: readonly { question: string; answer: string }[]): ChatTurn[] {
  return questions.flatMap(({ question, answer }): ChatTurn[] => [
    { role: "user", content: question },
    { role: "assistant", content: answer },
  ]);
}

const storyPlots = [...townPlots, ...homePlots, ...peoplePlots.filter((_, index) => index !== 3)];

/** One conversation as text in the chat format. */
export function tellChat(scene: Scene): string {
  const kind = pickWeighted(scene.random, [
    [3, "talk"],
    [2, "facts"],
    [4, "story"],
    [2, "venue"],
    [1, "venue passage"],
  ] as const);
  if (kind === "talk") {
    const greeting = smallTalkTurns(scene);
    // A second exchange starts from a clean memory, so that the two share no names by accident.
    const rest = chance(scene.random, 0.4) ? smallTalkTurns(createScene(scene.random, scene.lexicon)) : [];
    return renderChat([...greeting, ...rest]);
  }
  if (kind === "facts") {
    return renderChat(factTurns(scene));
  }
  if (kind === "venue passage") {
    return renderChat(plotTurns(scene, venuePlots, []));
  }
  return renderChat(
    kind === "story"
      ? plotTurns(scene, storyPlots, storyRequests)
      : plotTurns(scene, describingPlots, venueRequests),
  );
}
