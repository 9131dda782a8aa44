/** @file Words about eating and drinking: shops and what they sell, dishes, drinks, cuisines and places to eat. */
import { table, words } from "./phrase.ts";

export const purchases = table(
  "good shop price",
  `
  a loaf of brown bread / the bakery / {@smallPrice}
  a loaf of white bread / the bakery / {@smallPrice}
  six bread rolls / the bakery / {@smallPrice}
  two croissants / the bakery / {@smallPrice}
  an apple pie / the bakery / {@smallPrice}
  a chocolate cake / the bakery / {@smallPrice}
  some biscuits / the bakery / {@smallPrice}
  a cherry tart / the bakery / {@smallPrice}
  some butter / the supermarket / {@smallPrice}
  a bottle of milk / the supermarket / {@smallPrice}
  a box of eggs / the supermarket / {@smallPrice}
  a bag of rice / the supermarket / {@smallPrice}
  a packet of pasta / the supermarket / {@smallPrice}
  a jar of honey / the market / {@smallPrice}
  a jar of strawberry jam / the market / {@smallPrice}
  a kilo of apples / the market / {@smallPrice}
  a kilo of tomatoes / the market / {@smallPrice}
  a bag of oranges / the market / {@smallPrice}
  a bag of potatoes / the market / {@smallPrice}
  some carrots and onions / the market / {@smallPrice}
  a bunch of grapes / the market / {@smallPrice}
  a big pumpkin / the market / {@smallPrice}
  a basket of strawberries / the market / {@smallPrice}
  some fresh fish / the market / {@smallPrice}
  some cheese / the market / {@smallPrice}
  some ham / the butcher's shop / {@smallPrice}
  a roast chicken / the butcher's shop / {@smallPrice}
  some sausages / the butcher's shop / {@smallPrice}
  a newspaper / the corner shop / {@smallPrice}
  a bar of chocolate / the corner shop / {@smallPrice}
  a pint of milk / the corner shop / {@smallPrice}
  a bottle of lemonade / the corner shop / {@smallPrice}
  a box of matches / the corner shop / {@smallPrice}
  some stamps / the post office / {@smallPrice}
  a large envelope / the post office / {@smallPrice}
  a detective story / the bookshop / {@bigPrice}
  a map of the city / the bookshop / {@bigPrice}
  a book about birds / the bookshop / {@bigPrice}
  a cookery book / the bookshop / {@bigPrice}
  a bunch of flowers / the flower shop / {@bigPrice}
  a dozen roses / the flower shop / {@bigPrice}
  a small plant / the flower shop / {@bigPrice}
  a pair of boots / the shoe shop / {@bigPrice}
  a pair of red shoes / the shoe shop / {@bigPrice}
  a blue shirt / the clothes shop / {@bigPrice}
  a warm coat / the clothes shop / {@bigPrice}
  a woollen scarf / the clothes shop / {@bigPrice}
  a straw hat / the clothes shop / {@bigPrice}
  a yellow raincoat / the clothes shop / {@bigPrice}
  a wooden train / the toy shop / {@bigPrice}
  a puzzle / the toy shop / {@bigPrice}
  a red ball / the toy shop / {@bigPrice}
  a kite / the toy shop / {@bigPrice}
  some medicine / the chemist's / {@smallPrice}
  a toothbrush / the chemist's / {@smallPrice}
  a bar of soap / the chemist's / {@smallPrice}
  a hammer and some nails / the hardware shop / {@bigPrice}
  a tin of green paint / the hardware shop / {@bigPrice}
  a torch / the hardware shop / {@bigPrice}
  a new lamp / the furniture shop / {@bigPrice}
  a small table / the furniture shop / {@bigPrice}
  a pencil and a notebook / the stationery shop / {@smallPrice}
  a birthday card / the stationery shop / {@smallPrice}
  some fish food / the pet shop / {@smallPrice}
  a bag of dog food / the pet shop / {@smallPrice}
  `,
);

export const meals = words(
  "a bowl of tomato soup; a bowl of vegetable soup; a bowl of onion soup; a cheese sandwich; a ham sandwich; an egg sandwich; a tuna sandwich; a plate of pasta; a plate of spaghetti; a mushroom pizza; a cheese pizza; a slice of pizza; fish and chips; a beef burger; a vegetable burger; a chicken salad; a Greek salad; a green salad; a bowl of rice and beans; a chicken curry; a vegetable curry; roast beef and potatoes; roast chicken and carrots; a lamb stew; a beef stew; an omelette; a mushroom omelette; scrambled eggs on toast; beans on toast; a baked potato with cheese; sausages and mash; a steak with chips; grilled salmon; fried fish; noodles with vegetables; a bowl of noodles; a plate of sushi; tacos; a bean burrito; a shepherd's pie; a chicken pie; a vegetable pie; a plate of ham and eggs; pancakes with honey; a bowl of porridge; a plate of dumplings; grilled vegetables; a plate of cold meat; a cheese toastie; a falafel wrap; a lentil soup; a prawn curry",
);
export const drinks = words(
  "a cup of tea; a cup of coffee; a glass of water; a glass of milk; a glass of orange juice; a glass of apple juice; a hot chocolate; a glass of lemonade; a pot of tea; a glass of red wine; a glass of white wine; a pint of beer; a cold drink; a cup of green tea; a cup of mint tea; a black coffee; a ginger beer; a milkshake; a glass of cider; a bottle of sparkling water",
);
export const desserts = words(
  "a slice of apple pie; a slice of chocolate cake; a slice of carrot cake; a slice of lemon cake; an ice cream; a bowl of ice cream; a chocolate biscuit; a bowl of strawberries; a fruit salad; a scone with jam; a pancake; a cherry tart; a piece of cheesecake; a rice pudding; a bowl of custard; a plum cake; a muffin; a doughnut; a sponge cake; some grapes and cheese",
);
/** Dishes made at home: what they need, what is cut for them. */
export const homeDishes = table(
  "dish needs cut",
  `
  tomato soup / tomatoes, onions and cream / the tomatoes
  vegetable soup / carrots, leeks and potatoes / the carrots
  pumpkin soup / a pumpkin, cream and ginger / the pumpkin
  onion soup / onions, butter and cheese / the onions
  chicken soup / a chicken, carrots and noodles / the carrots
  fish stew / fish, tomatoes and garlic / the tomatoes
  beef stew / beef, onions and potatoes / the potatoes
  chicken curry / chicken, onions and rice / the onions
  vegetable curry / peppers, peas and rice / the peppers
  lentil curry / lentils, onions and spinach / the onions
  spaghetti / pasta, tomatoes and garlic / the tomatoes
  lasagne / pasta, tomatoes and cheese / the cheese
  mushroom risotto / rice, mushrooms and cheese / the mushrooms
  fried rice / rice, eggs and peas / the vegetables
  roast chicken / a chicken, lemons and herbs / the lemons
  roast lamb / lamb, potatoes and garlic / the potatoes
  potato salad / potatoes, eggs and herbs / the potatoes
  an apple pie / apples, flour and butter / the apples
  an apple cake / apples, eggs and sugar / the apples
  a lemon cake / lemons, flour and eggs / the lemons
  a carrot cake / carrots, flour and walnuts / the carrots
  a cheese omelette / eggs, cheese and butter / the cheese
  a mushroom omelette / eggs, mushrooms and butter / the mushrooms
  a big salad / tomatoes, cucumbers and cheese / the cucumbers
  baked fish / fish, lemons and herbs / the herbs
  shepherd's pie / lamb, carrots and potatoes / the carrots
  noodles with vegetables / noodles, peppers and cabbage / the peppers
  a vegetable pie / flour, leeks and mushrooms / the leeks
  a pizza / flour, tomatoes and cheese / the tomatoes
  bean chilli / beans, tomatoes and peppers / the peppers
  a fruit salad / apples, oranges and grapes / the apples
  cabbage soup / cabbage, potatoes and onions / the cabbage
  `,
);
export const ingredients = words(
  "onions; carrots; potatoes; tomatoes; mushrooms; peppers; garlic; butter; flour; sugar; salt; eggs; milk; cheese; rice; lemons; herbs; beans; peas; olive oil; cream; apples; honey; ginger; spinach; leeks; cabbage; walnuts",
);
export const fruits = table(
  "one many",
  `
  apple / apples
  pear / pears
  orange / oranges
  banana / bananas
  lemon / lemons
  peach / peaches
  plum / plums
  cherry / cherries
  strawberry / strawberries
  melon / melons
  apricot / apricots
  fig / figs
  mango / mangoes
  pineapple / pineapples
  raspberry / raspberries
  blackberry / blackberries
  kiwi / kiwis
  grape / grapes
  `,
);
export const vegetables = table(
  "one many",
  `
  carrot / carrots
  potato / potatoes
  onion / onions
  tomato / tomatoes
  cabbage / cabbages
  pepper / peppers
  mushroom / mushrooms
  leek / leeks
  cucumber / cucumbers
  pumpkin / pumpkins
  bean / beans
  pea / peas
  radish / radishes
  turnip / turnips
  aubergine / aubergines
  lettuce / lettuces
  `,
);
export const tastes = words(
  "delicious; very good; tasty; fresh; hot and tasty; a little salty; simple but good; rather spicy; sweet; excellent; wonderful; not bad; warm and filling; light and fresh; better than expected",
);

export const niceTastes = words(
  "delicious; very good; tasty; excellent; wonderful; not bad; better than expected; simple but good; just right; really good; perfect",
);
export const gardenFruits = words(
  "apples; pears; plums; cherries; strawberries; raspberries; blackberries; grapes; figs; peaches; apricots; gooseberries; redcurrants",
);
export const cuisines = table(
  "cuisine kitchen dish",
  `
  Italian / Italian food / pasta and pizza
  Italian / Italian food / fresh lasagne
  French / French food / onion soup and steak
  French / French food / fish in white wine
  English / English food / roast beef and pies
  English / English food / fish and chips
  British / British food / pies and puddings
  Scottish / Scottish food / salmon and potatoes
  Irish / Irish food / lamb stew
  Indian / Indian food / curries and warm bread
  Indian / Indian food / rice with lentils
  Chinese / Chinese food / noodles and dumplings
  Chinese / Chinese food / duck and fried rice
  Japanese / Japanese food / sushi and noodle soup
  Thai / Thai food / green curry and rice
  Vietnamese / Vietnamese food / noodle soup
  Korean / Korean food / grilled beef and rice
  Mexican / Mexican food / tacos and bean soup
  Spanish / Spanish food / small dishes and seafood
  Portuguese / Portuguese food / grilled fish
  Greek / Greek food / salads and grilled lamb
  Turkish / Turkish food / kebabs and flat bread
  Lebanese / Lebanese food / falafel and salads
  Moroccan / Moroccan food / lamb with apricots
  German / German food / sausages and potato salad
  Austrian / Austrian food / veal and apple cake
  Polish / Polish food / dumplings and cabbage soup
  Russian / Russian food / beetroot soup
  American / American food / burgers and chips
  vegetarian / vegetarian food / salads and vegetable stews
  vegan / vegan food / bean burgers and salads
  seafood / seafood / fresh fish and prawns
  fast food / fast food / burgers and chips
  `,
);
/** Kinds of places to eat, with what is typical of them. */
export const venueKinds = table(
  "one many doing",
  `
  restaurant / restaurants / eat
  restaurant / restaurants / have dinner
  coffee shop / coffee shops / have a coffee
  pub / pubs / eat and drink
  cafe / cafes / have lunch
  bistro / bistros / have dinner
  tea room / tea rooms / have tea and cake
  bar / bars / have a drink
  diner / diners / have a quick meal
  `,
);
export const areas = words(
  "by the river; in the riverside area; at the riverside; near the riverside; in the city centre; in the centre of the city; in the town centre; in the old town; near the station; next to the market square; near the harbour; by the sea; on the High Street; at the edge of the town; beside the park; opposite the theatre; near the university; behind the church; in a quiet street; close to the bridge",
);
export const priceWords = table(
  "is has span",
  `
  cheap / low prices / {@lowSpan}
  quite cheap / low prices / {@lowSpan}
  very cheap / very low prices / {@lowSpan}
  inexpensive / fair prices / {@lowSpan}
  moderately priced / average prices / {@middleSpan}
  not too expensive / moderate prices / {@middleSpan}
  reasonably priced / moderate prices / {@middleSpan}
  rather expensive / high prices / {@highSpan}
  expensive / high prices / {@highSpan}
  very expensive / very high prices / {@highSpan}
  `,
);
export const venueFirst = words(
  "Golden; Silver; Green; Red; Blue; White; Black; Old; Little; Happy; Royal; Quiet; Sunny; Hungry; Dancing; Sleeping; Lucky; Singing; Jolly; Crooked; Flying; Laughing; Wooden; Copper; Crystal; Rusty; Merry; Wild; Tall; Misty; Velvet; Amber; Bright",
);
export const venueSecond = words(
  "Lion; Swan; Horse; Fox; Bear; Duck; Goose; Owl; Rabbit; Rose; Oak; Apple; Olive; Lemon; Peacock; Teapot; Acorn; Spoon; Bell; Star; Moon; Lantern; Anchor; Boat; Bridge; Mill; Barn; Castle; Crown; Ship; Kettle; Window; Tower; Harbour; Pepper; Tulip",
);
export const staffManner = words(
  "friendly; helpful; polite; quick; kind; a little slow; cheerful; rather slow; very friendly; not very friendly; busy but polite; warm and welcoming",
);
export const niceManner = words(
  "friendly; helpful; polite; quick; kind; cheerful; very friendly; warm and welcoming",
);
export const levels = words("low; high; moderate; average; fair; very low; rather high; very high");
export const atmosphere = words(
  "quiet; cosy; lively; noisy; bright; warm; modern; old-fashioned; small but cosy; large and bright; comfortable; relaxed; romantic; simple and clean; pleasant",
);
