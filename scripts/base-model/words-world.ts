/** @file Words about the world: places, weather, time, things, animals, colours, opposites and simple facts. */
import { table, words } from "./phrase.ts";

export const places = table(
  "to at the",
  `
  to the park / in the park / the park
  to the beach / on the beach / the beach
  to the library / in the library / the library
  to the museum / in the museum / the museum
  to the zoo / at the zoo / the zoo
  to the lake / by the lake / the lake
  to the river / by the river / the river
  to the forest / in the forest / the forest
  to the castle / at the castle / the castle
  to the harbour / at the harbour / the harbour
  to the old town / in the old town / the old town
  to the market square / in the market square / the market square
  to the swimming pool / at the swimming pool / the swimming pool
  to the sports ground / at the sports ground / the sports ground
  to the playground / at the playground / the playground
  to the theatre / at the theatre / the theatre
  to the cinema / at the cinema / the cinema
  to the village / in the village / the village
  to the hills / in the hills / the hills
  to the farm / on the farm / the farm
  to the botanical garden / in the botanical garden / the botanical garden
  to the art gallery / in the art gallery / the art gallery
  to the railway station / at the railway station / the railway station
  to the bus stop / at the bus stop / the bus stop
  to the lighthouse / at the lighthouse / the lighthouse
  to the island / on the island / the island
  to the town hall / at the town hall / the town hall
  to the concert hall / at the concert hall / the concert hall
  `,
);
export const outdoorPlaces = table(
  "to at the",
  `
  to the park / in the park / the park
  to the beach / on the beach / the beach
  to the lake / by the lake / the lake
  to the river / by the river / the river
  to the forest / in the forest / the forest
  to the hills / in the hills / the hills
  to the mountains / in the mountains / the mountains
  to the garden / in the garden / the garden
  to the meadow / in the meadow / the meadow
  to the seaside / at the seaside / the seaside
  to the farm / on the farm / the farm
  to the island / on the island / the island
  to the castle gardens / in the castle gardens / the castle gardens
  to the canal / by the canal / the canal
  `,
);
export const towns = words(
  "London; Bristol; Leeds; York; Oxford; Cambridge; Bath; Dover; Exeter; Durham; Lincoln; Norwich; Chester; Brighton; Edinburgh; Glasgow; Cardiff; Swansea; Belfast; Dublin; Cork; Manchester; Liverpool; Newcastle; Paris; Rome; Berlin; Madrid; Lisbon; Vienna; Prague; Athens; Oslo; Hamburg; Munich; Milan; Venice; Florence; Naples; Seville; Porto; Lyon; Geneva; Amsterdam; Brussels",
);
export const streets = words(
  "Mill Street; Station Road; Church Lane; Park Avenue; Bridge Street; Market Street; Green Lane; River Road; Castle Street; King Street; Queen Street; School Lane; Victoria Road; North Street; South Street; West Street; East Street; Garden Road; Hill Road; Oak Avenue; Apple Lane; Rose Street; Orchard Road; Forest Road; Harbour Street; London Road; New Street; Long Lane; Chapel Street; Elm Road",
);
export const weather = table(
  "was is noun take then",
  `
  it was raining / it is raining / rain / an umbrella / the streets were wet
  it was raining hard / it is raining hard / heavy rain / a raincoat / everyone got wet
  it was sunny / it is sunny / sunshine / a pair of sunglasses / many people sat outside
  it was warm and sunny / it is warm and sunny / warm sunshine / a sun hat / the park was full of people
  it was very hot / it is very hot / great heat / a bottle of water / everyone looked for shade
  it was cold / it is cold / cold weather / a warm coat / people walked quickly
  it was cold and windy / it is cold and windy / a cold wind / a thick scarf / the streets were empty
  it was windy / it is windy / a strong wind / a jacket / leaves flew through the air
  it was snowing / it is snowing / snow / a pair of gloves / the roofs were white
  it was snowing heavily / it is snowing heavily / heavy snow / a pair of warm boots / the buses were late
  it was foggy / it is foggy / thick fog / a torch / it was hard to see the road
  it was cloudy / it is cloudy / grey clouds / a pullover / the sky stayed grey
  it was cool and cloudy / it is cool and cloudy / cool weather / a light jacket / it stayed dry
  it was mild and dry / it is mild and dry / mild weather / a thin jacket / birds sang in the trees
  it was icy / it is icy / ice on the roads / a pair of strong shoes / the paths were slippery
  it was stormy / it is stormy / a storm / a thick coat / the trees shook in the wind
  it was wet and grey / it is wet and grey / light rain / an umbrella / there were puddles everywhere
  it was bright but cold / it is bright but cold / frost / a woollen hat / the grass was white with frost
  `,
);
export const niceWeather = words(
  "the sun was shining; it was a warm day; the sky was blue; it was sunny and warm; it was a fine day; the weather was lovely; there was not a cloud in the sky; it was dry and mild; a light wind was blowing; it was a bright day; it was a warm and dry day; it was neither too hot nor too cold; the air was warm",
);
export const badWeather = words(
  "it was raining; it was cold and wet; a strong wind was blowing; it was snowing; the weather was bad; it was grey and rainy; there was thick fog; it was raining hard; a storm was coming; it was freezing outside; there was ice on the road; it was too windy",
);
export const weekdays = words("Monday; Tuesday; Wednesday; Thursday; Friday; Saturday; Sunday");
export const months = words(
  "January; February; March; April; May; June; July; August; September; October; November; December",
);
export const seasons = words("spring; summer; autumn; winter");
export const dayTimes = words(
  "in the morning; in the afternoon; in the evening; after lunch; after work; before breakfast; at noon; early in the morning; late in the afternoon; after breakfast; after dinner",
);
export const openings = words(
  "one morning; one afternoon; one evening; yesterday; last week; last weekend; last {@weekday}; on {@weekday}; on {@weekday} morning; on {@weekday} afternoon; on {@weekday} evening; one day in {@month}; in {@month}; two days ago; a few days ago; one {@season} morning; one {@season} day; on a~{@season} evening; this morning; last night; at the end of {@month}; early on {@weekday}; on the first day of {@month}",
);
export const transport = words(
  "by bus; by train; by car; by bike; on foot; by tram; by taxi; by boat; by underground",
);
export const things = words(
  "umbrella; key; wallet; phone; watch; ring; hat; scarf; bag; camera; book; notebook; pen; ticket; passport; glove; purse; jacket; ball; letter; coin; necklace; torch; map; cup; lunch box; pencil case; racket; towel; bracelet",
);
export const spots = words(
  "under the bed; under the table; behind the sofa; on the kitchen table; in the car; in the garden; on the bus; on the train; in a drawer; in a coat pocket; at the bottom of the bag; on the shelf; next to the door; behind the door; in the bathroom; on a bench; under a chair; in the shed; on the stairs; by the window; in the wardrobe; under a pile of clothes; beside the bed; in the fridge",
);
export const gifts = words(
  "a book; a scarf; a watch; a red bike; a box of chocolates; a bunch of flowers; a guitar; a camera; a ticket to a concert; a puzzle; a kite; a set of paints; a warm blanket; a silver ring; a football; a pair of gloves; a music box; a teapot; a plant; a toy car; a chess set; a jar of honey; a painting; a leather bag; a map of the world; a wooden bowl; a pair of slippers; a small radio; a lamp; a woollen pullover",
);
export const colours = words(
  "red; blue; green; yellow; white; black; brown; grey; orange; purple; pink; light blue; dark green; dark blue; silver; golden",
);
export const colourFacts = table(
  "thing colour",
  `
  the sky on a clear day / blue
  grass / green
  snow / white
  a ripe banana / yellow
  a ripe tomato / red
  coal / black
  a lemon / yellow
  milk / white
  a carrot / orange
  a raven / black
  a polar bear / white
  an elephant / grey
  chocolate / brown
  a flamingo / pink
  a lime / green
  the sea / blue
  a fire engine / red
  a frog / green
  a strawberry / red
  salt / white
  `,
);
export const animals = table(
  "one many sound eats home legs young",
  `
  dog / dogs / barks / meat / in a house or a kennel / four / puppy
  cat / cats / meows / fish and meat / in a house / four / kitten
  cow / cows / moos / grass / on a farm / four / calf
  horse / horses / neighs / grass and hay / in a stable / four / foal
  sheep / sheep / bleats / grass / in a meadow / four / lamb
  pig / pigs / grunts / almost everything / on a farm / four / piglet
  duck / ducks / quacks / plants and insects / in a pond / two / duckling
  hen / hens / clucks / seeds and worms / on a farm / two / chick
  goose / geese / honks / grass / on a farm / two / gosling
  lion / lions / roars / meat / in the wild / four / cub
  bear / bears / growls / fish, berries and honey / in the forest / four / cub
  wolf / wolves / howls / meat / in the forest / four / cub
  owl / owls / hoots / mice / in the forest / two / owlet
  frog / frogs / croaks / flies / in a pond / four / tadpole
  goat / goats / bleats / grass and leaves / on a farm / four / kid
  donkey / donkeys / brays / grass and hay / in a stable / four / foal
  mouse / mice / squeaks / seeds and cheese / in a hole / four / pup
  `,
);
export const pets = words(
  "dog; cat; rabbit; hamster; guinea pig; kitten; puppy; sheepdog; terrier; sausage dog",
);
export const petNames = words(
  "Rex; Bella; Max; Luna; Coco; Toffee; Biscuit; Pepper; Snowy; Shadow; Ginger; Rusty; Patch; Spot; Misty; Smoky; Buddy; Teddy; Pebble; Muffin",
);
export const opposites = table(
  "left right",
  `
  hot / cold
  big / small
  tall / short
  long / short
  old / young
  new / old
  fast / slow
  early / late
  happy / sad
  good / bad
  light / dark
  heavy / light
  open / closed
  full / empty
  clean / dirty
  wet / dry
  hard / soft
  loud / quiet
  cheap / expensive
  rich / poor
  strong / weak
  thick / thin
  wide / narrow
  high / low
  deep / shallow
  easy / difficult
  right / wrong
  true / false
  near / far
  up / down
  left / right
  inside / outside
  above / below
  before / after
  first / last
  always / never
  push / pull
  buy / sell
  give / take
  win / lose
  begin / end
  day / night
  summer / winter
  north / south
  east / west
  morning / evening
  question / answer
  friend / enemy
  asleep / awake
  sweet / sour
  brave / afraid
  polite / rude
  safe / dangerous
  sharp / blunt
  smooth / rough
  arrive / leave
  remember / forget
  laugh / cry
  sit / stand
  the top / the bottom
  `,
);
export const capitals = table(
  "capital country language",
  `
  Paris / France / French
  Rome / Italy / Italian
  Berlin / Germany / German
  Madrid / Spain / Spanish
  Lisbon / Portugal / Portuguese
  London / England / English
  Dublin / Ireland / English
  Vienna / Austria / German
  Prague / the Czech Republic / Czech
  Athens / Greece / Greek
  Oslo / Norway / Norwegian
  Stockholm / Sweden / Swedish
  Copenhagen / Denmark / Danish
  Helsinki / Finland / Finnish
  Warsaw / Poland / Polish
  Budapest / Hungary / Hungarian
  Tokyo / Japan / Japanese
  Cairo / Egypt / Arabic
  Moscow / Russia / Russian
  Beijing / China / Chinese
  Lima / Peru / Spanish
  Havana / Cuba / Spanish
  `,
);
export const toolFacts = table(
  "tool use",
  `
  a knife / cut bread
  an umbrella / keep dry in the rain
  a key / open a door
  a clock / tell the time
  a pen / write
  a broom / sweep the floor
  a torch / see in the dark
  a map / find the way
  a needle / sew clothes
  a hammer / hit nails
  a kettle / boil water
  an oven / bake bread
  a fridge / keep food cold
  a lamp / light a room
  a towel / dry your hands
  a comb / comb your hair
  a camera / take photographs
  a pair of scissors / cut paper
  a ladder / reach high places
  a thermometer / measure the temperature
  a basket / carry fruit
  a spoon / eat soup
  soap / wash your hands
  a pillow / rest your head
  `,
);
export const furniture = words(
  "a large wooden table; two soft armchairs; an old clock; a bookshelf full of books; a round mirror; a thick carpet; a small desk; a green sofa; a big window; a bed with a blue blanket; a lamp with a yellow shade; a picture of a ship; some plants; a piano; a chest of drawers; a rocking chair; a fireplace; white curtains; a wardrobe; six chairs",
);
export const rooms = words(
  "kitchen; living room; bedroom; bathroom; hall; study; dining room; attic; cellar; garage",
);
