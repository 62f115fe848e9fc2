//! The closed classes of English, in lower case, words parted by spaces.

pub(super) const INTERJECTION_WORDS: &str = "
    hi hello hey ok okay yes no yeah yep nope sure thanks thank bye goodbye great cool nice perfect alright please
    sorry welcome wow oh ah hmm haha lol good morning afternoon evening night cheers fine right";

pub(super) const TIME_WORDS: &str = "
    today yesterday tomorrow tonight now currently january february march april june july august september october
    november december jan feb mar apr jun jul aug sep sept oct nov dec q1 q2 q3 q4 h1 h2 monday tuesday wednesday
    thursday friday saturday sunday ytd mtd";

pub(super) const FUNCTION_WORDS: &str = "
    a an the and or but nor so yet if then than as at by for from in into of off on onto out over per to up upon via
    with within without about above across after against along among around before behind below beneath beside besides
    between beyond during except inside instead like near outside through throughout toward towards under underneath
    until till down since because while whereas although though unless whether i i'm i'd i'll i've me my mine myself
    you you're you'd you'll you've your yours yourself we we're we'd we'll we've us our ours he he's he'd him his
    himself she she's she'd her hers herself it it's it'd it'll its itself they they're they'd they'll they've them
    their theirs themselves this that that's these those there there's here here's one ones who who's whom whose which
    what what's when when's where where's why why's how how's am is isn't are aren't was wasn't were weren't be been
    being do don't does doesn't did didn't done doing have haven't has hasn't had hadn't having can can't cannot could
    couldn't may might must mustn't shall should shouldn't will won't would wouldn't not no yes ok okay please thanks
    thank hi hello hey yeah well just only also too very really quite rather still already ever never always often
    sometimes usually again else even more most much many few fewer less least some any all both each every either
    neither several another other others same such own let let's lets s t d ll re ve m not etc maybe perhaps however
    therefore thus hence actually basically exactly possibly probably two three four five six seven eight nine ten first second third last next previous former
    latter aside regarding concerning wasnt didnt doesnt dont isnt whats hows wheres whos theres im ive id";

pub(super) const GENERIC_WORDS: &str = "
    go goes going went gone get gets getting got gotten give gives giving gave given take takes taking took taken make
    makes making made use uses using used work works working worked know knows known knew knowing think thinks thought
    tell tells telling told say says saying said see sees seen saw seeing look looks looking looked find finds finding
    found want wants wanted wanting need needs needed needing like likes liked try tries tried trying ask asked asks
    show shows showed shown mean means meant explain describe happen happens happened happening come comes came coming
    become became becomes begin began begins begun start starts started starting end ends ended ending stop stops
    stopped keep keeps kept put set help helps helped change changes changed play plays played leave leaves left live
    lives lived call called calls name named names win wins won lose lost learn learned write wrote written writes
    release released releases produce produced record recorded receive received perform performed create created
    creates cause causes caused affect affects affected involve involved include includes included consider
    considered develop developed occur occurs occurred last lasted differ differs compare compares compared relate
    related relates respond responded react reacted feel feels felt believe believed do export import install configure
    upgrade update enable disable delete remove add edit cancel buy cost costs pay charge charges fix solve run print
    save download upload connect open close turn check order return returns contact book reserve recommend suggest
    provide share elaborate continue succeed successful success popular popularity famous important importance
    significant notable interesting aspect aspects article thing things something anything everything nothing someone
    anyone everyone people person way ways kind kinds type types sort sorts part parts lot lots time times year years
    day days month months place places example examples reason reasons result results effect effects impact purpose
    difference differences different similar advantage advantages disadvantage disadvantages benefit benefits pros
    cons feature features function functions characteristic characteristics step steps process method methods
    requirement requirements limit limits limitation limitations option options price prices pricing address phone number
    numbers postcode postal range food zip code area location website email hours date dates size color colour weight height
    length width version versions title titles author authors director actor actors singer members member character
    characters role roles plot story song songs album albums track tracks single singles hit hits tour tours award
    awards critic critics critical reception review reviews reviewed fan fans career job family parents mother father
    brother brothers sister sisters sibling siblings wife husband children child kids son sons daughter daughters
    married marry marriage born birth birthday die died death age old older young younger life childhood early later
    school college university degree education study studied background history origin origins meaning definition
    good better best bad worse worst big bigger biggest small large larger largest high higher highest low lower
    lowest long longer longest short shorter new newer latest recent cheap cheaper expensive fast faster hard easy
    easier difficult safe dangerous common main major minor possible able available true false real right wrong sure
    fine great nice free details detail information info more question questions answer problem problems issue issues
    alternative alternatives solution solutions symptom symptoms treatment treatments types uses usage role
    response opinion view views idea ideas goal goals plan plans future past present famous known controversy
    controversial commercially chart charts charted sell sold copies copy band bands group groups team teams company
    companies book books film films movie movies show episode season seasons game games record records work works
    project projects together alone away back ago long-term today yesterday tomorrow now currently";
