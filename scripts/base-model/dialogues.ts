/** @file Dialogues between two people: short exchanges in a shop, a restaurant, on the phone, in the street, at home. */
import type { Scene } from "./phrase.ts";
import { fill, say } from "./phrase.ts";
import { castScene } from "./plot.ts";
import { chance, pick } from "./random.ts";

/** Exchanges: each is a list of turns that alternate between two speakers, starting with the first. */
const exchanges: readonly (readonly string[])[] = [
  [
    "(Good morning|Good afternoon|Hello). Can I help you?",
    "(Yes, please. |Yes. |)I am looking for {@purchase:item}.",
    "(Here you are|We have this one). It costs {item.price}.",
    "(That is fine|Good). I will take it. (Thank you|Thanks).",
    "(Thank you|You are welcome). (Goodbye|Have a nice day)!",
  ],
  [
    "(Hello|Hi), {Y}! How are you?",
    "(I am fine, thank you|Very well, thanks|Not so good. I have {@ailment}). And you?",
    "(I am|I feel) {@glad:mood}. (I am on my way|I am going) {@place.to:spot}.",
    "(May I come with you?|Can I come too?|Shall we go together?)",
    "(Of course|Yes, of course)! (We can|Let us) {@hobby.base} (there|together).",
  ],
  [
    "What shall we do on {@weekday:day}?",
    "(We could|Shall we|Let us) go {@place.to:spot}(.|, if the weather is good.)",
    "(I was there last week|I do not like it there|It is too far). I would rather {@pastime.base:rather}.",
    "(Then|All right, then) let us {@hobby.base:plan}.",
    "(Good idea|All right|Yes, I would like that)! (When shall we start?|Shall we meet at {@clock}?)",
    "(I will come at {@clock}|Let us meet at {@clock} {@meeting}).",
  ],
  [
    "Have you seen my {@thing:thing}?",
    "(No, I have not|I do not think so). Where did you (leave|put) it?",
    "I (think|am sure that) I left it {@spot:first}.",
    "(Look {@spot}.|Have you looked {@spot}?|Maybe it is {@spot}.)",
    "(You are right|Yes|Ah, yes), here it is! (Thank you|Thanks|What luck).",
  ],
  [
    "Are you ready to order?",
    "(Yes|Yes, please). I would like {@meal:meal}(, please|).",
    "(And what|What) would you like to drink?",
    "{^@drink:drink}, please.",
    "(Would you like a dessert|Anything else)?",
    "(No, thank you|Yes, {@dessert}, please|Not now, thank you).",
  ],
  [
    "How was your (day|weekend|holiday)?",
    "(It was good|It was lovely|Not bad). I {@pastime:first} and {@chore:second}.",
    "(Was {B} there too?|Did you go out?|What was the weather like?)",
    "(No, {@weather.was}.|{^@weather.was}, so I stayed at home.|Not really, because {@badWeather}.)",
    "(What a pity|I see|That is a pity). (Maybe next time.|It will be better on {@weekday}.)",
  ],
  [
    "Excuse me, how do I get {@place.to:spot}?",
    "(Go|Walk) (straight on|along {@street}) and turn (left|right) at (the church|the bank|the traffic lights|the school|the bridge).",
    "(Is it far?|How long does it take?)",
    "(No, only|It is about|It takes) {@minutes} (on foot|from here).",
    "(Thank you very much|Thanks a lot|Thank you)!",
  ],
  [
    "What time is it?",
    "It is {@clock:now}. (Why?|Why do you ask?)",
    "(My bus leaves|I have to be {@place.at}|The film begins) at {@eveningClock:then}.",
    "(Then you should hurry|You have a lot of time|Do not worry, there is still time).",
  ],
  [
    "Do you know a good (restaurant|place to eat|pub|coffee shop) {@area:area}?",
    "(Yes, I know|I like|Try|You could try) {@venue:venue}. (They serve|It has) {@cuisine.kitchen:food}(, and it is {@priceWord}|).",
    "Is it (expensive|good for children|family-friendly|quiet)?",
    "(Yes, I think so|Not really|No, it is not). (A meal costs {@priceSpan}.|The staff are {@staffManner}.|It is rather {@atmosphere}.)",
    "(Thank you|Thanks)! (I will go there on {@weekday}|Let us go there together).",
  ],
  [
    "(What are you doing|What are you doing there)?",
    "I am {@pastime.ing:act}. (Why?|And you?|Do you want to help?)",
    "I have to go {@place.to:spot}. (Can you {@chore.base:chore} today?|Could you {@chore.base:chore}, please?)",
    "(Of course|Yes, I can do that|All right). When will you be back?",
    "(At|Not before) {@clock}. (Thank you!|Thanks a lot!)",
  ],
  [
    "(Hello|Good evening), this is {X}. (Is {B} at home?|Can I speak to {B}, please?)",
    "(I am sorry|No), {he2} is {@place.at:spot}. (Can I take a message?|Can I help you?)",
    "(Yes, please|Please). Tell {him2} that (I will be late|the party is on {@weekday}|we meet at {@clock} {@meeting}).",
    "(I will tell {him2}|I will|No problem). Goodbye!",
  ],
  [
    "How old are you?",
    "I am {@childAge} years old. (And you?|How old are you?)",
    "I am {@childAge}. (Do you like {@hobby.ing:hobby}?|What do you like?)",
    "(I like|My favourite thing is) {@hobby.ing:other}.",
    "(Me too|So do I|I have never tried it)!",
  ],
  [
    "I am {@tiredness:feeling}.",
    "(Why?|What happened?|Poor you!)",
    "I {@chore} and {@chore} (all morning|all day|for hours).",
    "(Sit down|Have a rest). I will (make|bring) you {@hotDrink:drink}.",
    "(You are very kind|Thank you|That would be lovely).",
  ],
];

const verbs = ["said", "said", "said", "asked", "answered", "replied", "called"] as const;

/** A dialogue, as a script ("Anna: ...") or as a story with quotation marks. */
export function tellDialogue(scene: Scene): string {
  castScene(scene);
  const exchange = pick(scene.random, exchanges);
  scene.remembered.set("X", scene.remembered.get("A") ?? {});
  // The third person of a phone call keeps the name B; the second speaker is a freshly drawn person.
  const second = fill(scene, "{@anyName:Y}");
  const first = fill(scene, "{X}");
  const speakers = [first, second] as const;
  const count = Math.max(2, exchange.length - (chance(scene.random, 0.2) ? 1 : 0));
  const turns = exchange.slice(0, count).map((turn) => say(scene, turn));
  if (chance(scene.random, 0.6)) {
    return turns.map((turn, index) => `${speakers[index % 2] ?? first}: ${turn}`).join("\n");
  }
  return turns.map((turn, index) => quoteTurn(scene, turn, speakers[index % 2] ?? first, index)).join(" ");
}

function quoteTurn(scene: Scene, turn: string, speaker: string, index: number): string {
  if (index > 1 && chance(scene.random, 0.5)) {
    return `"${turn}"`;
  }
  const verb = turn.endsWith("?")
    ? "asked"
    : pick(
        scene.random,
        verbs.filter((word) => word !== "asked"),
      );
  return turn.endsWith(".") ? `"${turn.slice(0, -1)}," ${verb} ${speaker}.` : `"${turn}" ${verb} ${speaker}.`;
}
