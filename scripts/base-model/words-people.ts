/** @file Words about people: names, families, jobs, feelings and what people do. */
import { table, words } from "./phrase.ts";

export const femaleNames: readonly string[] =
  "Anna Emma Lucy Sarah Mary Kate Laura Julia Alice Helen Rose Grace Ruth Clara Ella Nora Maria Sophie Amy Jane Rachel Susan Linda Karen Diana Carol Judy Megan Holly Daisy Lily Ivy Hannah Olivia Chloe Zoe Mia Eva Lena Nina Tina Vera Paula Irene Joan Molly Polly Sally Betty Peggy Wendy Tessa Fiona Gemma Becky Penny Heather Hazel Maggie Martha Esther Naomi Leah Layla Amina Fatima Priya Anita Meera Sita Yuki Mei Ling Rosa Elena Carmen Lucia Bella Freya Astrid Ingrid Greta Heidi Katya Olga Nadia Amelia Isla Evie Phoebe Poppy Matilda Harriet Beth Charlotte Eleanor Florence Jasmine Kim Lydia Monica Nicole Pamela Robin Sandra Violet Zara".split(
    " ",
  );

export const maleNames: readonly string[] =
  "Tom Ben Sam Jack Harry Peter Paul John James David Mark Luke Adam Daniel Simon Martin Robert Richard George Henry Oliver Leo Max Oscar Felix Hugo Theo Noah Liam Ethan Jacob Joseph Thomas William Edward Arthur Albert Frank Fred Walter Victor Ralph Stanley Alan Brian Colin Derek Eric Gary Graham Ian Keith Kevin Neil Nigel Roger Steve Tony Alex Nick Matthew Michael Stephen Andrew Patrick Sean Connor Rory Callum Ewan Finn Owen Rhys Dylan Evan Omar Ali Hassan Karim Ravi Arjun Sanjay Vikram Kenji Hiro Chen Wei Marco Luca Pablo Carlos Diego Miguel Pedro Hans Karl Lars Erik Sven Ivan Boris Anton Charlie Toby Archie Alfie Jamie Lewis Ryan Scott Stuart Gavin Dennis Douglas Malcolm Gordon Philip Timothy Duncan".split(
    " ",
  );

export const surnames = words(
  "Smith; Jones; Brown; Taylor; Wilson; Davies; Evans; Thomas; Johnson; Roberts; Walker; Wright; Robinson; Thompson; White; Hughes; Edwards; Green; Hall; Wood; Harris; Lewis; Martin; Jackson; Clarke; Clark; Turner; Hill; Scott; Cooper; Morris; Ward; Moore; King; Watson; Baker; Harrison; Morgan; Patel; Young; Allen; Mitchell; Anderson; Phillips; Lee; Bell; Parker; Kelly; Shaw; Carter; Bennett; Cook; Reed; Rivers; Stone; Marsh; Fox; Fisher; Mason; Potter; Grant; Ross; Murray; Khan; Ahmed; Singh; Kaur; Rossi; Garcia; Lopez; Novak; Meyer; Weber; Berg; Dubois; Silva",
);

export const femaleKin = words(
  "sister; cousin; friend; neighbour; best friend; colleague; old friend; flatmate; classmate; teammate",
);
export const maleKin = words(
  "brother; cousin; friend; neighbour; best friend; colleague; old friend; flatmate; classmate; teammate",
);
export const femaleElders = words("mother; grandmother; aunt");
export const maleElders = words("father; grandfather; uncle");

export const jobs = table(
  "job where third base",
  `
  nurse / in a hospital / looks after sick people / look after sick people
  doctor / in a hospital / helps people who are ill / help people who are ill
  teacher / in a school / teaches children to read and write / teach children to read and write
  baker / in a bakery / bakes bread and cakes / bake bread and cakes
  cook / in a restaurant / makes meals for the guests / make meals for the guests
  waiter / in a restaurant / brings food to the tables / bring food to the tables
  farmer / on a farm / grows wheat and keeps cows / grow wheat and keep cows
  driver / for a bus company / drives a big red bus / drive a big red bus
  pilot / for an airline / flies planes to other countries / fly planes to other countries
  gardener / in a large park / plants flowers and cuts the grass / plant flowers and cut the grass
  librarian / in a library / helps people to find books / help people to find books
  mechanic / in a garage / repairs cars and vans / repair cars and vans
  postman / for the post office / brings letters to every house / bring letters to every house
  police officer / in the city / keeps the streets safe / keep the streets safe
  firefighter / at the fire station / puts out fires / put out fires
  vet / in a small clinic / treats sick animals / treat sick animals
  dentist / in a small clinic / looks after people's teeth / look after people's teeth
  hairdresser / in a salon / cuts and washes hair / cut and wash hair
  builder / on a building site / builds houses and walls / build houses and walls
  painter / in old houses / paints walls and doors / paint walls and doors
  carpenter / in a workshop / makes tables and chairs from wood / make tables and chairs from wood
  shop assistant / in a clothes shop / helps customers to choose shirts and coats / help customers to choose shirts and coats
  fisherman / on a small boat / catches fish early in the morning / catch fish early in the morning
  musician / in a theatre / plays music in the evening / play music in the evening
  writer / at home / writes books for children / write books for children
  reporter / for a newspaper / writes about what happens in the town / write about what happens in the town
  scientist / at a university / studies plants and insects / study plants and insects
  engineer / in a factory / designs new machines / design new machines
  secretary / in an office / answers the phone and writes letters / answer the phone and write letters
  cleaner / in an office / cleans the rooms in the evening / clean the rooms in the evening
  tailor / in a small shop / makes and repairs clothes / make and repair clothes
  florist / in a flower shop / sells flowers and plants / sell flowers and plants
  guide / in a museum / shows visitors the old paintings / show visitors the old paintings
  zookeeper / at the zoo / feeds the animals / feed the animals
  receptionist / in a hotel / welcomes the guests / welcome the guests
  swimming teacher / at the pool / teaches children to swim / teach children to swim
  `,
);

export const glad = words(
  "happy; glad; pleased; delighted; very happy; proud; excited; relieved; cheerful; in a good mood; really pleased; thankful",
);
export const unhappy = words(
  "sad; unhappy; worried; tired; disappointed; upset; nervous; angry; bored; lonely; annoyed; in a bad mood; a little sad; very tired",
);
export const tiredness = words(
  "tired; very tired; hungry; thirsty; cold; tired and hungry; cold and wet; exhausted",
);

export const characters = words(
  "kind; friendly; quiet; clever; funny; shy; helpful; patient; honest; brave; careful; cheerful; generous; polite; busy; calm; curious; hard-working; gentle; lively; sensible; strong; warm and friendly; quiet but funny; kind and patient",
);
export const looks = words(
  "tall; short; slim; quite tall; rather short; very tall; of medium height; strong and tall; small and slim",
);
export const hair = words(
  "short brown hair; long black hair; curly red hair; straight fair hair; grey hair; long dark hair; short blond hair; wavy brown hair; short curly hair; white hair; long blond hair; short black hair",
);
export const eyeColours = words("blue; brown; green; grey; dark; light blue; dark brown");

export const hobbies = table(
  "ing base third past",
  `
  reading detective stories / read detective stories / reads detective stories / read detective stories
  playing chess / play chess / plays chess / played chess
  playing football / play football / plays football / played football
  playing tennis / play tennis / plays tennis / played tennis
  playing the piano / play the piano / plays the piano / played the piano
  playing the guitar / play the guitar / plays the guitar / played the guitar
  playing cards / play cards / plays cards / played cards
  swimming in the lake / swim in the lake / swims in the lake / swam in the lake
  swimming at the pool / swim at the pool / swims at the pool / swam at the pool
  riding a bike / ride a bike / rides a bike / rode a bike
  riding a horse / ride a horse / rides a horse / rode a horse
  running in the park / run in the park / runs in the park / ran in the park
  walking in the hills / walk in the hills / walks in the hills / walked in the hills
  walking by the sea / walk by the sea / walks by the sea / walked by the sea
  painting pictures / paint pictures / paints pictures / painted pictures
  drawing animals / draw animals / draws animals / drew animals
  taking photographs / take photographs / takes photographs / took photographs
  baking cakes / bake cakes / bakes cakes / baked cakes
  cooking for friends / cook for friends / cooks for friends / cooked for friends
  working in the garden / work in the garden / works in the garden / worked in the garden
  growing vegetables / grow vegetables / grows vegetables / grew vegetables
  watching old films / watch old films / watches old films / watched old films
  watching birds / watch birds / watches birds / watched birds
  listening to music / listen to music / listens to music / listened to music
  listening to the radio / listen to the radio / listens to the radio / listened to the radio
  singing in a choir / sing in a choir / sings in a choir / sang in a choir
  dancing / dance / dances / danced
  fishing in the river / fish in the river / fishes in the river / fished in the river
  writing letters / write letters / writes letters / wrote letters
  learning Spanish / learn Spanish / learns Spanish / learned Spanish
  learning French / learn French / learns French / learned French
  collecting stamps / collect stamps / collects stamps / collected stamps
  knitting / knit / knits / knitted
  sewing clothes / sew clothes / sews clothes / sewed clothes
  repairing old clocks / repair old clocks / repairs old clocks / repaired old clocks
  building model boats / build model boats / builds model boats / built model boats
  going to concerts / go to concerts / goes to concerts / went to concerts
  going to museums / go to museums / goes to museums / went to museums
  visiting markets / visit markets / visits markets / visited markets
  meeting friends in town / meet friends in town / meets friends in town / met friends in town
  doing puzzles / do puzzles / does puzzles / did puzzles
  doing yoga / do yoga / does yoga / did yoga
  climbing mountains / climb mountains / climbs mountains / climbed mountains
  sailing / sail / sails / sailed
  skating / skate / skates / skated
  camping in the forest / camp in the forest / camps in the forest / camped in the forest
  `,
);

export const chores = table(
  "past base ing third",
  `
  washed the dishes / wash the dishes / washing the dishes / washes the dishes
  cleaned the kitchen / clean the kitchen / cleaning the kitchen / cleans the kitchen
  swept the floor / sweep the floor / sweeping the floor / sweeps the floor
  watered the plants / water the plants / watering the plants / waters the plants
  fed the cat / feed the cat / feeding the cat / feeds the cat
  walked the dog / walk the dog / walking the dog / walks the dog
  made the beds / make the beds / making the beds / makes the beds
  cut the grass / cut the grass / cutting the grass / cuts the grass
  painted the fence / paint the fence / painting the fence / paints the fence
  washed the car / wash the car / washing the car / washes the car
  ironed the shirts / iron the shirts / ironing the shirts / irons the shirts
  took out the rubbish / take out the rubbish / taking out the rubbish / takes out the rubbish
  cleaned the windows / clean the windows / cleaning the windows / cleans the windows
  tidied the living room / tidy the living room / tidying the living room / tidies the living room
  tidied the bedroom / tidy the bedroom / tidying the bedroom / tidies the bedroom
  hung up the washing / hang up the washing / hanging up the washing / hangs up the washing
  answered some emails / answer some emails / answering some emails / answers some emails
  paid the bills / pay the bills / paying the bills / pays the bills
  repaired the bike / repair the bike / repairing the bike / repairs the bike
  fixed the lamp / fix the lamp / fixing the lamp / fixes the lamp
  laid the table / lay the table / laying the table / lays the table
  cooked dinner / cook dinner / cooking dinner / cooks dinner
  made the tea / make the tea / making the tea / makes the tea
  baked some bread / bake some bread / baking some bread / bakes some bread
  peeled the potatoes / peel the potatoes / peeling the potatoes / peels the potatoes
  dried the plates / dry the plates / drying the plates / dries the plates
  picked the apples / pick the apples / picking the apples / picks the apples
  planted some flowers / plant some flowers / planting some flowers / plants some flowers
  swept the leaves / sweep the leaves / sweeping the leaves / sweeps the leaves
  folded the clothes / fold the clothes / folding the clothes / folds the clothes
  emptied the bins / empty the bins / emptying the bins / empties the bins
  fed the chickens / feed the chickens / feeding the chickens / feeds the chickens
  `,
);

export const pastimes = table(
  "past base ing third",
  `
  read a book / read a book / reading a book / reads a book
  read the newspaper / read the newspaper / reading the newspaper / reads the newspaper
  watched a film / watch a film / watching a film / watches a film
  watched television / watch television / watching television / watches television
  listened to the radio / listen to the radio / listening to the radio / listens to the radio
  listened to music / listen to music / listening to music / listens to music
  played cards / play cards / playing cards / plays cards
  played a board game / play a board game / playing a board game / plays a board game
  played the piano / play the piano / playing the piano / plays the piano
  wrote a letter / write a letter / writing a letter / writes a letter
  wrote some postcards / write some postcards / writing some postcards / writes some postcards
  drew a picture / draw a picture / drawing a picture / draws a picture
  painted a picture / paint a picture / painting a picture / paints a picture
  did a puzzle / do a puzzle / doing a puzzle / does a puzzle
  called a friend / call a friend / calling a friend / calls a friend
  had a hot bath / have a hot bath / having a hot bath / has a hot bath
  baked a cake / bake a cake / baking a cake / bakes a cake
  drank a cup of tea / drink a cup of tea / drinking a cup of tea / drinks a cup of tea
  looked at old photographs / look at old photographs / looking at old photographs / looks at old photographs
  slept on the sofa / sleep on the sofa / sleeping on the sofa / sleeps on the sofa
  knitted a scarf / knit a scarf / knitting a scarf / knits a scarf
  did some exercises / do some exercises / doing some exercises / does some exercises
  practised the guitar / practise the guitar / practising the guitar / practises the guitar
  sat by the fire / sit by the fire / sitting by the fire / sits by the fire
  went to bed early / go to bed early / going to bed early / goes to bed early
  `,
);

export const ailments = words(
  "a bad cold; a headache; a cough; a fever; a sore throat; a toothache; a stomach ache; the flu; a sore back; a sore knee; an earache",
);
export const instruments = words(
  "piano; guitar; violin; flute; trumpet; drums; cello; harp; clarinet; saxophone; recorder; accordion",
);
export const sports = words(
  "football; tennis; cricket; rugby; basketball; hockey; badminton; table tennis; volleyball; golf; netball",
);
export const subjects = words(
  "maths; history; science; geography; art; music; English; French; Spanish; German; biology; chemistry; physics",
);
