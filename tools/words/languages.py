"""The words that an instruction is made of, by language: alternatives of regular expressions, in lower case.

Chinese, Japanese and Korean have no spaces between words, so theirs are looked for anywhere, and all others as whole
words: see `words`.
"""

from __future__ import annotations

UNSPACED = ("zh", "ja", "ko")


def words(**by_language: str) -> str:
    """Return a pattern that finds the words of any of these languages.

    Args:
        by_language: Two letters of a language to alternatives, parted by `|`.
    """
    spaced = "|".join(found for language, found in by_language.items() if language not in UNSPACED)
    anywhere = "|".join(found for language, found in by_language.items() if language in UNSPACED)
    return rf"(?:\b(?:{spaced})\b" + (f"|{anywhere})" if anywhere else ")")


# --- verbs and small words --------------------------------------------------------------------------------------------

TRAIN = words(
    en=r"fine[- ]?tun(?:e|ing)|finetun(?:e|ing)|post-?train(?:ing)?|train(?:ing)?|tun(?:e|ing)|adapt(?:ing)?|"
    r"teach(?:ing)?|align(?:ing)?|distil+(?:ing)?|sft|dpo|kto|grpo|rloo",
    de=r"feintune|trainiere|feinabstimmung",
    fr=r"entra[iî]ner?|affiner?",
    es=r"ajusta(?:r)?|entrena(?:r)?|afinar?",
    pt=r"treina(?:r)?|treine",
    it=r"addestra(?:re)?",
    pl=r"dostr[oó]j|wytrenuj",
    ru=r"дообучи(?:ть)?|обучи(?:ть)?",
    zh="微调|训练",
)
ON = (
    r"on|with|using|over|from|against|upon|mit|auf|anhand|sur|avec|con|sobre|en|com|su|op|met|na|z|на|с|"
    r"用|使用|基于|在"
)
ARTICLE = (
    r"(?:(?:the|a|an|my|our|this|that|base|model|modell|modèle|modelo|modello|das|dem|den|der|die|mein\w*|le|la|el|il|"
    r"o|dataset|data|set|file|datensatz|daten|aus|fichier|jeu|de|du|données|datos|conjunto|subset|called|named|of|"
    r"模型|数据集|数据)\s+)*"
)

NOT = words(
    en=r"no|not|without|don'?t|do not|skip(?: the)?",
    de="ohne|kein|keine|keinen|nicht",
    fr="sans|pas d'|pas de|aucune?",
    es="sin",
    pt="sem|não",
    it="senza|non",
    nl="zonder|geen",
    pl="bez|nie",
    ru="без|не",
    zh="不要|不用|不需要|无需|不必|别|不",
)
NOT_AFTER = r"(?:\b(?:es )?nicht\b|(?:は|を)?(?:せず|しないで|しない|なし|不要)|(?:는|은)?\s?(?:없이|하지))"
"""Behind what is ruled out: German imperatives, Japanese and Korean."""
NOR = r"(?:or|nor|oder|noch|ou|ni|o|ani|или|ни|或)"
"""Between two things that one word rules out."""
CLAUSE_END = r"[,.;:!?\n]|\b(?:but|and|then|aber|und|dann|mais|et|puis|sino|pero|mas|ma|maar|en|но|и|ale|i)\b"

# --- numbers ----------------------------------------------------------------------------------------------------------

NUMBER_WORDS = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
    "twelve": 12, "fifteen": 15, "sixteen": 16, "twenty": 20,
    "thirty-two": 32, "sixty-four": 64, "thirty": 30, "forty": 40, "fifty": 50, "hundred": 100, "half": 0.5,
    "ein": 1, "eine": 1, "einer": 1, "einen": 1, "zwei": 2, "drei": 3, "vier": 4, "fünf": 5, "sechs": 6, "acht": 8,
    "zehn": 10, "zwölf": 12, "zwanzig": 20, "fünfzig": 50, "hundert": 100,
    "un": 1, "une": 1, "deux": 2, "trois": 3, "quatre": 4, "cinq": 5, "huit": 8, "dix": 10, "vingt": 20,
    "una": 1, "dos": 2, "tres": 3, "cuatro": 4, "cinco": 5, "ocho": 8, "diez": 10, "veinte": 20,
    "due": 2, "tre": 3, "quattro": 4, "cinque": 5, "dieci": 10, "venti": 20,
    "duas": 2, "dois": 2, "três": 3, "dez": 10, "vinte": 20,
    "een": 1, "één": 1, "twee": 2, "drie": 3, "vijf": 5, "tien": 10, "twintig": 20,
    "один": 1, "одну": 1, "одна": 1, "две": 2, "два": 2, "три": 3, "четыре": 4, "пять": 5, "десять": 10, "двадцать": 20,
    "jeden": 1, "jedną": 1, "dwie": 2, "dwa": 2, "trzy": 3, "pięć": 5, "dziesięć": 10, "dwadzieścia": 20,
}  # fmt: skip
UNSPACED_NUMBERS = {
    "一": 1, "二": 2, "两": 2, "三": 3, "四": 4, "五": 5, "六": 6, "八": 8, "十": 10,
}  # fmt: skip

# --- what is counted and measured -------------------------------------------------------------------------------------

EPOCHS = words(
    en="epochs?|ep",
    de="epochen?",
    fr="époques?|epoques?",
    es="épocas?|epocas?",
    it="epoch[ei]|epoca",
    ru="эпох[аиу]?",
    pl="epok[aięi]?|epoki",
    zh="轮|个?周期",
    ja="エポック",
    ko="에포크",
)
STEPS = words(
    en="(?:training |optimi[sz]er )?steps",
    de="schritte",
    es="pasos",
    it="passi",
    nl="stappen",
    ru=r"шаг\w*",
    pl=r"krok\w*",
    zh="步",
    ja="ステップ",
    ko="스텝",
)
ROWS = words(
    en=r"rows?|examples?|samples?|conversations?|dialog(?:ue)?s|chats|instances|entries|records|pairs|prompts|"
    r"data ?points?|lines(?! of code)",
    de="zeilen?|beispielen?|datensätzen?",
    fr="lignes?|exemples?",
    es="filas?|ejemplos?",
    pt="linhas?|exemplos?",
    it="righe|esempi",
    nl="rijen|voorbeelden",
    ru=r"строк\w*|пример\w*",
    pl=r"wiersz\w*|przykład\w*",
    zh="条(?:数据|样本)?|行|个?样本",
    ja="件|行",
)
FIRST = words(
    en="first",
    de="ersten?",
    fr="premi(?:er|ère)s?",
    es="primer[ao]s",
    pt="primeir[ao]s",
    it="prim[ei]",
    nl="eerste",
    ru=r"перв\w*",
    pl=r"pierwsz\w*",
    zh="前",
    ja="最初の",
)
OF = r"(?:of|from|out of|in|von|aus|der|des|de|du|da|do|di|del|van|из|z)"
LEARNING_RATE = words(
    en="lr|learning[_ -]rate",
    de="lernrate",
    fr="taux d'apprentissage",
    es="tasa de aprendizaje",
    pt="taxa de aprendizado|taxa de aprendizagem",
    it="tasso di apprendimento",
    nl="leersnelheid",
    ru="скорост[ьи] обучения",
    pl="współczynnik(?:iem)? uczenia",
    zh="学习率",
    ja="学習率",
    ko="학습률",
)
RANK = words(
    en="(?:lora[_ -]?)?(?:rank|r)", de="rang", es="rango", it="rango", ru="ранг", zh="秩", ja="ランク", ko="랭크"
)
BATCH = words(
    en="per_device_train_batch_size|(?:micro[- ]?)?batch(?:[_ -]size)?|bs",
    de="batchgröße",
    fr="taille (?:de|du) (?:lot|batch)",
    es="tamaño de lote",
    pt="tamanho do lote",
    zh="批大小|批次大小|批量大小",
    ja="バッチサイズ",
    ko="배치 ?크기",
)
DOLLARS = words(
    en="(?:us )?dollars?|usd|bucks?|eur",
    es="dólares",
    pt="dólares",
    it="dollari",
    pl=r"dolar\w*",
    ru=r"доллар\w*",
    de="euros?",
    zh="美元|美金",
    ja="ドル",
    ko="달러",
)
CENTS = words(en="cents?|ct|¢", fr="centimes", es="centavos|céntimos")
OTHER_MONEY = words(
    en="pounds?|gbp|yen|yuan|rmb|rupees?|francs?|chf", pl="złotych|zł", ru=r"рубл\w*", zh="元|块", ja="円", ko="원"
)
"""Currencies that are not near enough to the dollar for a cap."""
BUDGET = words(
    en="budget",
    fr="budget",
    es="presupuesto",
    pt="orçamento",
    pl="budżet",
    ru="бюджет",
    zh="预算",
    ja="予算",
    ko="예산",
)
HOURS = words(
    en="h|hours?",
    de="stunden?",
    fr="heures?",
    es="horas?",
    it="ore",
    nl="uur",
    ru=r"час\w*",
    pl=r"godzin\w*",
    zh="小时",
    ja="時間",
    ko="시간",
)
MINUTES = words(
    en="min(?:ute)?s?",
    de="minuten?",
    es="minutos?",
    it="minut[oi]",
    nl="minu(?:ut|ten)",
    ru=r"минут\w*",
    pl=r"minut\w*",
    zh="分钟",
    ja="分",
    ko="분",
)
AT_MOST = words(
    en="within|under|below|at most|max(?:imum)?|less than|in|up to|(?:no|not) (?:more|longer) than|"
    "not exceeding|(?:stop|end) after",
    de="höchstens|maximal|innerhalb von",
    fr="en moins de|au plus|au maximum",
    es="como máximo|en menos de|máximo",
    pt="no máximo",
    it="entro|al massimo",
    nl="binnen|hooguit|maximaal",
    ru="не более|за",
    pl="najwyżej|maksymalnie",
    zh="最多|不超过|在",
)
HAVE = words(en="(?:i )?have|(?:i )?'?ve got|got", de="(?:ich )?habe", fr="(?:j'?)?ai", es="tengo")
IS = r"\s*(?:size|rate|length|of|to|=|:|is|at|von|van|de|di|ist|est|es|wynosi|为|是|设为|は|を|로|은|는)*\s*(?:=|:)?\s*"
"""Between a name and its value."""

# --- what is done with the model, and where ---------------------------------------------------------------------------

EVALUATE = words(
    en=r"compar\w+|evaluat\w+|eval|benchmark\w*|measure\w*|humaneval|gsm8k|ifeval|mmlu|how much better",
    de=r"vergleich\w*|evaluier\w*|auswertung|bewertung",
    fr=r"évalu\w+",
    es=r"evalú\w+",
    it=r"confront\w+|valut\w+",
    pt=r"avali\w+",
    nl=r"vergelijk\w*|evalueer\w*|evaluatie",
    ru=r"сравни\w*|оцени\w*|оценк\w*",
    pl=r"porówna\w*|oceń|oceny|ewaluacj\w*",
    zh="评估|评测|比较|对比",
    ja="評価|比較",
    ko="평가|비교",
)
EXPORT = words(
    en=r"exp[oó]rt\w*|gguf|quanti[sz]\w*|ollama|llama\.?cpp|q\d_[k01]\w*|imatrix|importance matrix",
    it=r"esport\w*|quantizz\w*",
    ru=r"экспорт\w*|квант\w*",
    pl=r"eksport\w*|wyeksport\w*",
    zh="导出|量化",
    ja="エクスポート|書き出|量子化",
    ko="내보내기?|양자화",
)
IMPORTANCE_MATRIX = words(en="imatrix|importance matrix", de="wichtigkeitsmatrix")
PUBLISH = words(
    en=r"publish\w*|push\w*|upload\w*",
    de=r"veröffentlich\w*",
    fr="publi(?:er?|ez)",
    es="publica(?:r|lo)?",
    it="pubblica(?:re)?",
    ru=r"опублик\w*",
    pl=r"opublik\w*",
    zh="发布|上传",
    ja="公開|アップロード",
    ko="공개|업로드",
)
SCHEDULE = (
    r"(?<!cosine )(?<!linear )(?<!constant )(?<!rate )(?<!lr )"
    r"\b(?:whenever|each time|cron|schedul(?:e|ed|es|ing)|repeatedly|regularly|regelmäßig|régulièrement)\b"
)
"""A `cosine schedule` is one of the learning rate."""

PLAN_ONLY = words(
    en=r"dry[- ]?run|(?:just|only) (?:validate|check|plan|estimate|quote|price|tell me)|"
    r"(?:do not|don'?t|without) (?:train|start|submit|launch|run)(?:ing)?"
    r"(?: (?:it|anything|yet|a job|the job|the training))*"
    r"(?=\s*(?:$|[,.;:!?)]))|(?:what|how much) (?:would|will|does|do) .{0,60}?\bcosts?|estimate (?:the )?costs?",
    de=r"probelauf|nur (?:prüfen|schätzen|planen)|was (?:kostet|würde .{0,60}?kosten)|ohne zu trainieren",
    fr=r"combien (?:coûte|coûterait)|sans lancer|à blanc",
    es=r"cuánto (?:cuesta|costaría)|solo (?:valida|comprueba)",
    zh="只检查|多少钱|试运行",
    ja="いくら",
    ko="얼마",
)
"""The person wants to know, and nothing that costs or trains is to be started."""
HERE = words(
    en=r"locally|on this (?:machine|computer|laptop|cpu|gpu)|"
    r"on my (?:own )?(?:machine|computer|laptop|gpu|cpu|mac(?:book)?|pc)",
    de="lokal|auf diesem rechner|auf meinem rechner",
    fr="localement|en local",
    es="localmente|en local",
    nl="lokaal",
    ru="локально",
    pl="lokalnie",
    zh="本地|本机",
    ja="ローカル",
    ko="로컬",
)
THERE = words(
    en=r"hf[- ]jobs|hugging ?face jobs|on jobs|in the cloud", de="in der cloud", fr="dans le cloud", zh="云端"
)
