/** @file Common words by kind, and plain statements with common verbs: they widen the vocabulary beyond the plots. */
import { table } from "./phrase.ts";
import type { WordTable } from "./phrase.ts";

const kinds: Readonly<Record<string, string>> = {
  "tool/tools": "hammer, saw, screwdriver, drill, spade, axe, rake, chisel, file, shovel, brush, wrench",
  "animal/animals":
    "tiger, elephant, giraffe, monkey, zebra, camel, kangaroo, whale, dolphin, shark, snake, crocodile, turtle, penguin, eagle, beaver, otter, badger, leopard, hippo, seal, panda, lizard, bat",
  "bird/birds":
    "parrot, sparrow, pigeon, crow, swallow, robin, peacock, stork, magpie, seagull, hawk, blackbird, heron",
  "insect/insects":
    "bee, ant, butterfly, beetle, moth, fly, wasp, mosquito, grasshopper, ladybird, dragonfly, cricket",
  "fish/fish": "salmon, trout, cod, herring, tuna, carp, sardine, eel, pike",
  "flower/flowers":
    "rose, tulip, daisy, lily, sunflower, violet, orchid, poppy, daffodil, carnation, snowdrop",
  "tree/trees": "oak, pine, birch, willow, maple, beech, chestnut, fir, elm, palm, poplar, cedar",
  "vehicle/vehicles":
    "car, bus, lorry, van, tram, motorbike, bicycle, taxi, tractor, ambulance, scooter, coach, wagon",
  "building/buildings":
    "house, church, castle, hospital, factory, museum, school, bank, hotel, palace, cathedral, library, prison, theatre, barn, warehouse, temple, mosque",
  "piece of furniture/furniture":
    "chair, table, sofa, bed, cupboard, desk, wardrobe, armchair, bookcase, stool, bench, shelf",
  "piece of clothing/clothes":
    "shirt, jacket, skirt, dress, coat, jumper, blouse, scarf, suit, raincoat, cardigan, tie, belt, vest",
  "musical instrument/musical instruments":
    "piano, violin, guitar, trumpet, flute, cello, harp, drum, organ, trombone, clarinet, banjo",
  "sport/sports":
    "football, tennis, hockey, rugby, boxing, rowing, swimming, skiing, cycling, gymnastics, judo, wrestling, sailing",
  "country/countries":
    "Canada, Brazil, Mexico, India, Kenya, Norway, Sweden, Poland, Turkey, Morocco, Vietnam, Thailand, Chile, Cuba, Iceland, Greece, Nigeria, Australia, Argentina, Switzerland, Belgium, Ukraine",
  "planet/planets": "Mars, Venus, Jupiter, Saturn, Mercury, Neptune, Uranus, Earth",
  "metal/metals": "gold, silver, iron, copper, lead, tin, steel, aluminium, zinc",
  "drink/drinks": "water, milk, coffee, tea, juice, wine, beer, lemonade, cocoa, cider, whisky",
  "spice/spices": "pepper, cinnamon, ginger, saffron, paprika, cumin, nutmeg, vanilla, mustard",
  "part of the body/parts of the body":
    "head, arm, leg, hand, foot, knee, elbow, shoulder, neck, ear, nose, mouth, finger, toe, back, stomach, chin, heart",
  "member of the family/members of the family":
    "mother, father, sister, brother, uncle, aunt, cousin, nephew, niece, grandson, granddaughter",
  "material/materials":
    "wood, glass, paper, leather, cotton, wool, stone, plastic, rubber, silk, brick, concrete",
  "language/languages":
    "English, French, Spanish, Arabic, Chinese, Russian, Hindi, Dutch, Italian, Polish, Turkish, Swahili, Latin",
  "shape/shapes": "circle, square, triangle, rectangle, star, cube, oval, cross",
  "feeling/feelings": "joy, anger, fear, love, surprise, pride, hope, sadness, envy, pity, shame, happiness",
  "job/jobs":
    "lawyer, judge, actor, singer, dancer, soldier, sailor, butcher, plumber, electrician, politician, architect, journalist, photographer, chef, detective, astronaut, president, manager, student, artist, banker",
};

/** Kinds whose words stand without an article. */
const MASS = new Set("sport country planet metal drink spice material language feeling".split(" "));

/** Words with their kind: `word` carries its article where it needs one. */
export const kindsOfThings: WordTable = {
  forms: ["word", "bare", "kind", "kinds"],
  rows: Object.entries(kinds).flatMap(([key, list]) => {
    const [kind = "", many = ""] = key.split("/");
    const isMass = MASS.has(kind);
    return list.split(", ").map((word) => [isMass ? word : `a~${word}`, word, kind, many]);
  }),
};

/** Acts with an object, for sentences that no plot tells. */
export const acts = table(
  "past base third ing",
  `
  opened the box / open the box / opens the box / opening the box
  closed the window / close the window / closes the window / closing the window
  followed the path / follow the path / follows the path / following the path
  crossed the bridge / cross the bridge / crosses the bridge / crossing the bridge
  explained the rule / explain the rule / explains the rule / explaining the rule
  counted the coins / count the coins / counts the coins / counting the coins
  answered the question / answer the question / answers the question / answering the question
  described the picture / describe the picture / describes the picture / describing the picture
  changed the plan / change the plan / changes the plan / changing the plan
  solved the problem / solve the problem / solves the problem / solving the problem
  finished the report / finish the report / finishes the report / finishing the report
  started the engine / start the engine / starts the engine / starting the engine
  stopped the machine / stop the machine / stops the machine / stopping the machine
  carried the suitcase / carry the suitcase / carries the suitcase / carrying the suitcase
  moved the furniture / move the furniture / moves the furniture / moving the furniture
  pulled the rope / pull the rope / pulls the rope / pulling the rope
  pushed the button / push the button / pushes the button / pushing the button
  threw the ball / throw the ball / throws the ball / throwing the ball
  caught the train / catch the train / catches the train / catching the train
  broke the glass / break the glass / breaks the glass / breaking the glass
  built the wall / build the wall / builds the wall / building the wall
  chose the colour / choose the colour / chooses the colour / choosing the colour
  drove the lorry / drive the lorry / drives the lorry / driving the lorry
  forgot the password / forget the password / forgets the password / forgetting the password
  heard the story / hear the story / hears the story / hearing the story
  kept the secret / keep the secret / keeps the secret / keeping the secret
  led the group / lead the group / leads the group / leading the group
  lent the money / lend the money / lends the money / lending the money
  sent the message / send the message / sends the message / sending the message
  signed the contract / sign the contract / signs the contract / signing the contract
  studied the map / study the map / studies the map / studying the map
  taught the lesson / teach the lesson / teaches the lesson / teaching the lesson
  told the truth / tell the truth / tells the truth / telling the truth
  understood the idea / understand the idea / understands the idea / understanding the idea
  visited the exhibition / visit the exhibition / visits the exhibition / visiting the exhibition
  won the prize / win the prize / wins the prize / winning the prize
  wrote the article / write the article / writes the article / writing the article
  checked the results / check the results / checks the results / checking the results
  planned the meeting / plan the meeting / plans the meeting / planning the meeting
  prepared the speech / prepare the speech / prepares the speech / preparing the speech
  received the parcel / receive the parcel / receives the parcel / receiving the parcel
  returned the library books / return the library books / returns the library books / returning the library books
  discussed the government / discuss the government / discusses the government / discussing the government
  watched the match / watch the match / watches the match / watching the match
  measured the distance / measure the distance / measures the distance / measuring the distance
  mixed the colours / mix the colours / mixes the colours / mixing the colours
  copied the text / copy the text / copies the text / copying the text
  translated the sentence / translate the sentence / translates the sentence / translating the sentence
  `,
);
