"""English words and sentences for a synthesizer to say, and which of them a listener may confuse.

The words train, the sentences measure. Most sentences are Harvard sentences (IEEE Recommended
Practice for Speech Quality Measurements, 1969).
"""

_HOMOPHONES = (
  *({"two", "to", "too"}, {"four", "for", "fore"}, {"one", "won"}, {"eight", "ate"}),
  *({"no", "know"}, {"right", "write", "rite"}, {"off", "of"}, {"zero", "xero"}),
)


def list_homophones(word: str) -> set[str]:
  """Returns a word in lower case and those that a listener takes for it."""
  return {word}.union(*(alike for alike in _HOMOPHONES if word in alike))


WORDS = """
the a of and in that it was his with as at be this had not are but from they have which you were
her she there would their we him been has when who will more if out so said what its about than
into them can only other time new some could these may then do first any my now such like our over
man me even most made after also did many before must through back years where much your way well
down should because each just those people take day good how water long little very make world own
see men work here get between life being under great same another know while last might
us old since against go came house use during without place american around however home small
found thought went say part once general high upon school every does got united left number course
war until always away something fact though public less think almost hand enough far took head yet
government system better set told nothing night end why called eyes find going look asked later
point knew next city business case group toward young days let room president side social given
present several order national possible rather second face per among form important often things
looked early white big became need within felt along children saw best church ever least power
development light thing seemed family interest want members mind area country others turned
although done open service problem certain kind different door began thus help sense means whole
matter itself money street music garden summer winter window paper letter river mountain
table kitchen doctor teacher student computer picture coffee sugar butter bread orange apple banana
yellow purple silver golden morning evening weather thunder lightning station airplane railway
hospital library museum village farmer sailor soldier captain engine motor wheel hammer button
pocket jacket trousers shoulder finger elbow knee ankle stomach happy angry hungry thirsty quiet
loud heavy gentle simple modern ancient central northern southern western eastern finally slowly
quickly nearly really maybe perhaps yesterday tomorrow tonight sometimes never six seven eight nine
ten eleven twelve thirteen twenty thirty hundred thousand million hello please sorry thanks goodbye
mister madam brother sister mother father daughter uncle cousin baby dog horse chicken rabbit tiger
elephant monkey spider butterfly tree flower forest island desert ocean beach
""".split()  # noqa: SIM905  (as a list it fills a page)

SENTENCES = """
The birch canoe slid on the smooth planks.
Glue the sheet and the dark blue background.
It's easy and quick when you tell the depth of a well.
These days a chicken leg is a rare dish.
Rice is often served in round bowls.
The juice of lemons makes fine punch.
The box was thrown beside the parked truck.
The hogs were fed chopped corn and garbage.
A large size in stockings is hard, he sells.
The boy was there when the sun rose.
A rod is used and we catch pink salmon.
The source of the huge river is the clear spring.
Kick the ball straight and follow through.
Help the woman get back on her feet.
A pot of tea helps pass the evening.
Smoky fires lack flame and heat.
The soft cushion broke the man's fall.
The salt breeze came across from the sea.
The girl at the booth sold fifty bonds.
The small pup gnawed a hole in the sock.
The fish twisted and turned on the bent hook.
Press the pants and sew a button on the vest.
The swan dive was far short of perfect.
The beauty of the view stunned the young boy.
Her purse was full of useless trash.
The colt reared and threw the tall rider.
It snowed, rained, and hailed the same morning.
Read verse out loud when you want pleasure.
Hoist the load on your left shoulder.
Take the winding path and reach the lake.
Note closely the size of the gas tank.
Wipe the grease off his dirty face.
Mend the coat before you go out.
The wrist was badly strained and hung limp.
The stray cat gave birth in the barn.
The young girl gave no clear response.
The meal was cooked before the bell rang.
What joy there is in living.
A king ruled the state in the early days.
The ship was torn apart on the sharp reef.
Sickness kept him home the third week.
The wide road shimmered in the hot sun.
The lazy cow lay in the cool grass.
Lift the square stone over the fence.
The rope will bind the seven books at once.
Hop over the fence and plunge in.
The friendly gang left the drug store.
Mesh wire keeps chicks inside.
The frosty air passed through the coat.
The crooked maze failed and fooled the mouse.
Adding fast leads you into wrong sums.
The show was a flop from the very start.
A saw is a tool used when making boards.
The wagon moved on well oiled wheels.
March the soldiers past the next hill.
A cup of sugar makes sweet fudge.
Place a rosebush near the porch steps.
Both lost their lives in the raging storm.
We talked of the side show in the circus.
Use a pencil and write the first draft.
He ran half way and reached the hardware store.
The clock struck and marked the third period.
A small creek cut across the field.
Cars and busses stalled in snow drifts.
The set of china hit the floor with a crash.
This is a grand season, and hikes are planned.
The dune rose from the edge of the water.
Those words were the cue, and the actor left.
A yacht slid around the point into the bay.
The play seems dull and quite stupid.
""".strip().splitlines()
