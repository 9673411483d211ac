#!/usr/bin/env python3
"""Writes cases.jsonl: texts with values of classes of data, and texts that only look as if.

The values are random with fixed seeds, and right by other people's checks: python-stdnum's, and Presidio's
where that has none. `make.py` needs both (requirements.txt); the tests need neither.
"""

from __future__ import annotations

import importlib
import json
import random
import string
import sys
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
R = random.Random(20261129)
Check = Callable[[str], bool]


def stdnum(name: str) -> Check:
    module = importlib.import_module("stdnum." + name)
    return lambda value: bool(module.is_valid(value))


def presidio(name: str) -> Check:
    module = importlib.import_module("presidio_analyzer.predefined_recognizers")
    recognizer = getattr(module, name)()
    return lambda value: bool(recognizer.validate_result(value))


def filled(pattern: str) -> str:
    """9 a digit, A a capital, X either, D a day `DDMMYY`, E a day `YYMMDD`, F a day `YYYYMMDD`, § the digit 9, else itself in capitals."""
    out = ""
    for c in pattern:
        day, month, year = R.randint(1, 28), R.randint(1, 12), R.randint(1950, 2005)
        match c:
            case "9":
                out += R.choice(string.digits)
            case "A":
                out += R.choice(string.ascii_uppercase)
            case "X":
                out += R.choice(string.ascii_uppercase + string.digits)
            case "D":
                out += f"{day:02}{month:02}{year % 100:02}"
            case "E":
                out += f"{year % 100:02}{month:02}{day:02}"
            case "F":
                out += f"{year}{month:02}{day:02}"
            case "§":
                out += "9"
            case _:
                out += c.upper()
    return out


def right(pattern: str, check: Check) -> str:
    for _ in range(200_000):
        value = filled(pattern)
        if len(set(value)) > 2 and check(value):
            return value
    raise SystemExit(f"nothing right like {pattern}")


def wrong(value: str, check: Check) -> str | None:
    """The value with another digit or letter, so that it is wrong."""
    for _ in range(2_000):
        at = R.randrange(len(value))
        if not value[at].isalnum():
            continue
        other = R.choice(string.digits if value[at].isdigit() else string.ascii_uppercase)
        changed = value[:at] + other + value[at + 1 :]
        if changed != value and not check(changed):
            return changed
    return None


def grouped(value: str, layout: str) -> str:
    """Puts the characters of a value where `#` is."""
    characters = iter(value)
    return "".join(next(characters) if c == "#" else c for c in layout)


# Sentences by language: with a word for what it is, and without.
WITH = {
    "en": ["My {w} is {v}.", "{w}: {v}", "Please update the record, {w} {v}, by Friday.", "{v} ({w})"],
    "de": ["Meine {w} lautet {v}.", "{w}: {v}", "Bitte prüfen Sie {w} {v} bis Freitag."],
    "fr": ["Mon {w} est le {v}.", "{w} : {v}", "Merci de vérifier le {w} {v} avant vendredi."],
    "es": ["Mi {w} es {v}.", "{w}: {v}", "Compruebe el {w} {v}, por favor."],
    "it": ["Il mio {w} è {v}.", "{w}: {v}", "Verificare {w} {v} entro venerdì."],
    "pt": ["Meu {w} é {v}.", "{w}: {v}", "Favor verificar o {w} {v} até sexta."],
    "pl": ["Mój {w} to {v}.", "{w}: {v}", "Proszę sprawdzić {w} {v} do piątku."],
    "sv": ["Mitt {w} är {v}.", "{w}: {v}", "Kontrollera {w} {v} före fredag."],
    "nl": ["Mijn {w} is {v}.", "{w}: {v}", "Graag {w} {v} controleren."],
    "fi": ["Minun {w} on {v}.", "{w}: {v}"],
    "tr": ["Benim {w} {v}.", "{w}: {v}"],
    "ja": ["私の{w}は{v}です。", "{w}：{v}", "{w} {v} を確認してください。"],
    "ko": ["제 {w}는 {v}입니다.", "{w}: {v}"],
    "th": ["{w} {v} ครับ", "{w}: {v}"],
}
WITHOUT = {
    "en": ["Please update {v} by Friday.", "Sent to {v}, thanks!", "{v}", "I typed '{v}' twice."],
    "de": ["Bitte ändern Sie {v} bis Freitag.", "Gesendet an {v}, danke!", "Für {v} gilt das nicht."],
    "fr": ["Merci de corriger {v} avant vendredi.", "Voici : {v}", "C’est «\u00a0{v}\u00a0»."],
    "es": ["Corrija {v}, por favor.", "Enviado a {v}, ¡gracias!"],
    "it": ["Correggere {v} entro venerdì.", "Inviato a {v}, grazie!"],
    "pt": ["Favor corrigir {v} até sexta.", "Enviado para {v}, obrigado!"],
    "pl": ["Proszę poprawić {v} do piątku.", "Wysłano do {v}, dziękuję!"],
    "sv": ["Ändra {v} före fredag.", "Skickat till {v}, tack!"],
    "nl": ["Graag {v} aanpassen."],
    "fi": ["Korjaa {v} perjantaihin mennessä."],
    "tr": ["Lütfen {v} değerini düzeltin."],
    "ja": ["{v}を確認してください。", "こちらです：{v}"],
    "ko": ["{v}을 확인해 주세요."],
    "th": ["กรุณาตรวจสอบ {v}"],
}
LANGUAGES = list(WITHOUT)

CASES: list[dict[str, object]] = []


def case(lang: str, text: str, *found: tuple[str, str]) -> None:
    for _, value in found:
        assert text.count(value) == 1, (text, value)
    CASES.append({"lang": lang, "text": text, "find": [{"class": c, "value": v} for c, v in found]})


def sentence(table: dict[str, list[str]], lang: str, value: str, word: str = "") -> str:
    return R.choice(table[lang]).format(v=value, w=word)


def kind(
    name: str,
    check: Check,
    patterns: list[str],
    layouts: list[str],
    words: dict[str, list[str]],
    bare: bool = True,
    count: int = 6,
    misses: bool = True,
) -> None:
    """Cases of one kind: with words near, without if the form says enough, and near misses."""
    for number in range(count):
        pattern, lang = R.choice(patterns), R.choice(list(words))
        value = right(pattern, check)
        fitting = [layout for layout in layouts if layout.count("#") == len(value)]
        written = grouped(value, fitting[number % len(fitting)])
        case(lang, sentence(WITH, lang, written, R.choice(words[lang])), (name, written))
        if bare:
            lang = R.choice(LANGUAGES)
            value = right(pattern, check)
            written = grouped(value, fitting[number % len(fitting)])
            case(lang, sentence(WITHOUT, lang, written), (name, written))
        miss = wrong(value, check) if misses and number % 2 == 0 else None
        if miss:
            lang = R.choice(list(words))
            case(lang, sentence(WITH, lang, grouped(miss, fitting[number % len(fitting)]), R.choice(words[lang])))


def plain(name: str, makers: list[Callable[[], str]], count: int, words: dict[str, list[str]] | None = None) -> None:
    """Cases of one kind without a checksum. With words, the form alone says too little."""
    for number in range(count):
        value = makers[number % len(makers)]()
        if words:
            lang = R.choice(list(words))
            case(lang, sentence(WITH, lang, value, R.choice(words[lang])), (name, value))
        else:
            lang = LANGUAGES[number % len(LANGUAGES)]
            case(lang, sentence(WITHOUT, lang, value), (name, value))


def cards() -> None:
    luhn = stdnum("luhn")
    words = {"en": ["card number", "credit card"], "de": ["Kartennummer"], "fr": ["carte bancaire"], "es": ["tarjeta"], "sv": ["kortnummer"], "ja": ["カード番号"]}
    four = ["################", "#### #### #### ####", "####-####-####-####", "####\u00a0####\u00a0####\u00a0####", "####.####.####.####", "####\u2011####\u2011####\u2011####"]
    for begin in ["4", "51", "55", "2221", "2720", "6011", "65", "3528", "62"]:
        pattern = begin + "9" * (16 - len(begin))
        kind("CREDIT_DEBIT_CARD_NUMBER", luhn, [pattern], four, words, count=4)
    kind("CREDIT_DEBIT_CARD_NUMBER", luhn, ["349999999999999", "379999999999999"], ["###############", "#### ###### #####", "####-######-#####"], words)
    kind("CREDIT_DEBIT_CARD_NUMBER", luhn, ["36999999999999", "30599999999999"], ["##############", "#### ###### ####"], words)


def ibans() -> None:
    iban = stdnum("iban")
    from stdnum.iban import calc_check_digits

    bodies = {"DE": "9" * 18, "GB": "AAAA" + "9" * 14, "NL": "ABNA9999999999", "ES": None, "IT": None, "PL": "9" * 24, "SE": "9" * 20, "CH": "9" * 17, "AT": "9" * 16, "DK": "9" * 14, "IE": "AIBK" + "9" * 14, "LT": "9" * 16, "SA": "9" * 20, "TR": "99999" + "0" + "9" * 16, "LU": "9" * 16}
    words = {"en": ["IBAN", "account"], "de": ["IBAN", "Kontonummer"], "fr": ["IBAN"], "es": ["IBAN", "cuenta"], "pl": ["numer konta"], "nl": ["rekeningnummer"], "sv": ["IBAN"]}
    name = "INTERNATIONAL_BANK_ACCOUNT_NUMBER"
    for country, body in bodies.items():
        if body is None:
            continue
        for number in range(4):
            inner = filled(body)
            value = country + calc_check_digits(country + "00" + inner) + inner
            assert importlib.import_module("stdnum.iban").is_valid(value, check_country=False), value
            spaced = " ".join(value[at : at + 4] for at in range(0, len(value), 4))
            forms = [value, spaced, spaced.replace(" ", "\u00a0"), spaced.replace(" ", "-")]
            written = forms[number]
            lang = R.choice(list(words))
            case(lang, sentence(WITH, lang, written, R.choice(words[lang])), (name, written))
            lang = R.choice(LANGUAGES)
            if number < 3:
                case(lang, sentence(WITHOUT, lang, forms[number - 1].replace("\u00a0", " ")), (name, forms[number - 1].replace("\u00a0", " ")))
            digits = [at for at, c in enumerate(value) if c.isdigit() and at > 3]
            at = R.choice(digits)
            miss = value[:at] + str((int(value[at]) + 1) % 10) + value[at + 1 :]
            if number % 2:
                case(lang, sentence(WITHOUT, lang, miss))


def people() -> None:
    """National numbers whose form or checksum says enough."""
    kind("AT_SOCIAL_SECURITY", stdnum("at.vnr"), ["9999D"], ["##########", "#### ######"], {"de": ["SV-Nummer", "Sozialversicherungsnummer"]}, bare=False)
    kind("BE_NATIONAL_NUMBER", stdnum("be.nn"), ["E99999"], ["###########", "##.##.##-###.##"], {"nl": ["rijksregisternummer"], "fr": ["registre national"]})
    kind("BG_EGN", stdnum("bg.egn"), ["E9999"], ["##########"], {"en": ["EGN"]}, bare=False)
    kind("CH_AHV", stdnum("ch.ssn"), ["7569999999999"], ["###.####.####.##", "#############"], {"de": ["AHV-Nummer"], "fr": ["numéro AVS"]})
    kind("CZ_BIRTH_NUMBER", stdnum("cz.rc"), ["E9999"], ["######/####"], {"en": ["rodné číslo"]})
    kind("DE_HEALTH_INSURANCE", presidio("DeHealthInsuranceRecognizer"), ["A999999999"], ["##########"], {"de": ["KVNR", "Versichertennummer"]}, bare=False)
    kind("DE_ID_CARD", presidio("DePassportRecognizer"), ["LXXXXXXX9", "CXXXXXXX9", "TXXXXXXX9"], ["#########"], {"de": ["Personalausweisnummer", "Ausweisnummer"]}, bare=False)
    kind("DE_SOCIAL_SECURITY", presidio("DeSocialSecurityRecognizer"), ["65DA999", "12DA999"], ["############", "## ###### # ###"], {"de": ["Sozialversicherungsnummer", "RVNR"]})
    kind("DE_TAX_ID", stdnum("de.idnr"), ["99999999999"], ["###########", "## ### ### ###"], {"de": ["Steuer-ID", "Steueridentifikationsnummer"], "en": ["German tax id"]})
    kind("DE_VAT_ID", stdnum("de.vat"), ["999999999"], ["DE#########", "DE ### ### ###"], {"de": ["USt-IdNr."], "en": ["VAT id"]})
    kind("DK_CPR", stdnum("dk.cpr"), ["D9999"], ["######-####"], {"en": ["CPR number"], "sv": ["CPR-nummer"]}, count=4, misses=False)
    kind("EE_PERSONAL_CODE", stdnum("ee.ik"), ["3E9999", "4E9999"], ["###########"], {"en": ["isikukood"]})
    kind("LT_PERSONAL_CODE", stdnum("lt.asmens"), ["3E9999", "4E9999"], ["###########"], {"en": ["asmens kodas"]}, bare=False)
    kind("ES_NIE", stdnum("es.nie"), ["X9999999A", "Y9999999A", "Z9999999A"], ["#########", "########-#"], {"es": ["NIE"]})
    kind("ES_NIF", stdnum("es.dni"), ["99999999A"], ["#########", "########-#", "##.###.###-#"], {"es": ["DNI", "NIF"]})
    kind("FI_PERSONAL_IDENTITY_CODE", stdnum("fi.hetu"), ["D-999X"], ["###########"], {"fi": ["henkilötunnus", "hetu"]})
    kind("FR_NIR", stdnum("fr.nir"), ["199019999999999", "285127599999999", "278022A99999999"], ["###############", "# ## ## ## ### ### ##"], {"fr": ["numéro de sécurité sociale", "NIR"]})
    kind("GR_AMKA", stdnum("gr.amka"), ["D99999"], ["###########"], {"en": ["AMKA"]})
    kind("IE_PPSN", stdnum("ie.pps"), ["9999999A", "9999999AA"], ["########", "#########"], {"en": ["PPS number"]})
    codice = ["RSSMRC99H19L999A", "BNCGNN99C19H999A", "VRTLCU99T19H999A", "CNTCHR99P49L999A"]
    kind("IT_FISCAL_CODE", stdnum("it.codicefiscale"), codice, ["################"], {"it": ["codice fiscale"]})
    kind("NO_FNR", stdnum("no.fodselsnummer"), ["D99999"], ["###########", "###### #####"], {"sv": ["fødselsnummer"], "en": ["fødselsnummer"]})
    kind("PL_PESEL", stdnum("pl.pesel"), ["E99999"], ["###########"], {"pl": ["PESEL"], "en": ["PESEL"]}, count=10)
    kind("PL_NIP", stdnum("pl.nip"), ["9999999999"], ["###-###-##-##", "###-##-##-###"], {"pl": ["NIP"]})
    kind("RO_CNP", stdnum("ro.cnp"), ["1E419999", "2E129999"], ["#############"], {"en": ["CNP"]})
    kind("SE_PERSONNUMMER", stdnum("se.personnummer"), ["E-9999", "F-9999"], ["###########", "#############"], {"sv": ["personnummer"]}, count=10)
    kind("US_SOCIAL_SECURITY_NUMBER", stdnum("us.ssn"), ["123999999", "412999999", "078999999"], ["###-##-####", "### ## ####", "###\u2011##\u2011####"], {"en": ["SSN", "social security number"], "es": ["seguro social"]}, count=10, misses=False)
    kind("US_INDIVIDUAL_TAX_IDENTIFICATION_NUMBER", stdnum("us.itin"), ["912709999", "955859999"], ["###-##-####"], {"en": ["ITIN"]}, count=4, misses=False)
    kind("CA_SOCIAL_INSURANCE_NUMBER", stdnum("ca.sin"), ["199999999", "499999999"], ["###-###-###"], {"en": ["SIN", "social insurance number"], "fr": ["NAS"]})
    kind("AR_CUIT", stdnum("ar.cuit"), ["20999999999", "27999999999"], ["##-########-#", "###########"], {"es": ["CUIT", "CUIL"]})
    kind("BR_CPF", stdnum("br.cpf"), ["99999999999"], ["###.###.###-##", "###########"], {"pt": ["CPF"]}, count=8)
    kind("BR_CNPJ", stdnum("br.cnpj"), ["99999999000199"], ["##.###.###/####-##", "##############"], {"pt": ["CNPJ"]})
    kind("CL_RUT", stdnum("cl.rut"), ["129999999", "99999999K"], ["##.###.###-#"], {"es": ["RUT"]})
    kind("MX_CURP", stdnum("mx.curp"), ["GAAAEHNLRRL99", "LOOAEMNLRRL09"], ["##################"], {"es": ["CURP"]})
    kind("AU_ABN", stdnum("au.abn"), ["99999999999"], ["## ### ### ###", "###########"], {"en": ["ABN"]})
    kind("CN_RESIDENT_ID", stdnum("cn.ric"), ["110105F9999", "310101F999X"], ["##################"], {"ja": ["身份证"], "en": ["resident id"]})
    kind("IN_GSTIN", stdnum("in_.gstin"), ["27AAPLU9999A1ZX", "29AABCT9999A1ZX"], ["###############"], {"en": ["GSTIN"]})
    kind("IN_PAN", stdnum("in_.pan"), ["AAAPA9999A", "AAACA9999A"], ["##########"], {"en": ["PAN"]}, count=4)
    kind("KR_RRN", stdnum("kr.rrn"), ["E1999999", "E2999999"], ["######-#######"], {"ko": ["주민등록번호"]}, misses=False)
    kind("KR_BRN", presidio("KrBrnRecognizer"), ["1999999999", "6999999999"], ["###-##-#####"], {"ko": ["사업자등록번호"]})
    kind("SG_NRIC_FIN", sg_nric, ["S9999999A", "T9999999A", "f9999999A", "G9999999A"], ["#########"], {"en": ["NRIC", "FIN"]})
    kind("SG_UEN", stdnum("sg.uen"), ["53999999A", "201999999A", "200999999A"], ["#########", "##########"], {"en": ["UEN"]})
    kind("TR_NATIONAL_ID", stdnum("tr.tckimlik"), ["99999999999"], ["###########"], {"tr": ["TC kimlik no", "T.C. kimlik numarası"]})
    kind("TW_ID", tw_id, ["A199999999", "H299999999"], ["##########"], {"en": ["national id"]}, count=4, bare=False)
    kind("ZA_ID_NUMBER", stdnum("za.idnr"), ["E9999089"], ["#############"], {"en": ["South African ID", "ID number"]})
    kind("JMBG", stdnum("si.emso"), ["0101002500999", "1505003505999"], ["#############"], {"en": ["EMŠO", "JMBG"]}, count=4)
    kind("VEHICLE_IDENTIFICATION_NUMBER", vin, ["1M8GHM9BXKP999999", "5YJSB1H2XGG999999", "WBB3B5CSXCG999999"], ["#################"], {"en": ["VIN"], "de": ["Fahrgestellnummer"]}, count=4)
    kind("US_MBI", lambda value: True, ["1HG4TK5MK73", "2KC8WQ8JT41", "3YV7GH1RM06"], ["###########", "####-###-####"], {"en": ["MBI", "Medicare number"]}, count=3)
    kind("MEDICAL_LICENSE", dea, ["BB9999999", "RS9999999", "MG9999999"], ["#########"], {"en": ["DEA number"]}, bare=False)


def vague() -> None:
    """Numbers whose checksum says too little: every tenth number passes."""
    kind("DE_LANR", presidio("DeLanrRecognizer"), ["999999999"], ["#########"], {"de": ["LANR", "Arztnummer"]}, bare=False)
    kind("GR_AFM", stdnum("gr.vat"), ["999999999"], ["#########"], {"en": ["AFM"]}, bare=False, count=4)
    kind("HR_OIB", stdnum("hr.oib"), ["99999999999"], ["###########"], {"en": ["OIB"]}, bare=False)
    kind("IT_VAT_CODE", stdnum("it.iva"), ["09999990159", "09999990015"], ["###########"], {"it": ["partita IVA", "P.IVA"]}, bare=False)
    kind("NL_BSN", stdnum("nl.bsn"), ["999999999"], ["#########", "#### ## ###"], {"nl": ["BSN", "burgerservicenummer"]}, bare=False)
    kind("PT_NIF", stdnum("pt.nif"), ["299999999", "199999999"], ["#########", "### ### ###"], {"pt": ["NIF", "número de contribuinte"]}, bare=False)
    kind("SE_ORGANISATIONSNUMMER", stdnum("se.orgnr"), ["5569999999", "5565999999"], ["######-####"], {"sv": ["organisationsnummer", "org.nr"]}, bare=False)
    kind("UK_NATIONAL_HEALTH_SERVICE_NUMBER", stdnum("gb.nhs"), ["4999999999", "9999999999"], ["### ### ####", "##########", "###-###-####"], {"en": ["NHS number", "NHS no"]}, bare=False, count=10)
    kind("UK_UNIQUE_TAXPAYER_REFERENCE_NUMBER", stdnum("gb.utr"), ["9999999999"], ["##########"], {"en": ["UTR", "unique taxpayer reference"]}, bare=False)
    kind("US_BANK_ROUTING_NUMBER", stdnum("us.rtn"), ["021999999", "111999999", "322999999"], ["#########"], {"en": ["routing number", "ABA"]}, bare=False)
    kind("US_NPI", presidio("UsNpiRecognizer"), ["1999999999"], ["##########"], {"en": ["NPI", "provider identifier"]}, bare=False)
    kind("CA_SOCIAL_INSURANCE_NUMBER", stdnum("ca.sin"), ["199999999", "699999999"], ["#########", "### ### ###"], {"en": ["SIN", "social insurance number"], "fr": ["NAS", "numéro d'assurance sociale"]}, bare=False)
    kind("CA_HEALTH_NUMBER", stdnum("luhn"), ["4999999999"], ["##########", "####-###-###"], {"en": ["OHIP", "health card number"]}, bare=False, count=4)
    kind("AU_ACN", stdnum("au.acn"), ["999999999"], ["### ### ###", "#########"], {"en": ["ACN"]}, bare=False)
    kind("AU_TFN", stdnum("au.tfn"), ["999999999"], ["### ### ###", "#########"], {"en": ["TFN", "tax file number"]}, bare=False)
    kind("AU_MEDICARE", presidio("AuMedicareRecognizer"), ["2999999991", "4999999991"], ["#### ##### #", "##########"], {"en": ["Medicare card", "Medicare number"]}, bare=False)
    kind("IN_AADHAAR", stdnum("in_.aadhaar"), ["999999999999"], ["#### #### ####", "############"], {"en": ["Aadhaar", "Aadhaar number"]}, bare=False, count=8)
    kind("JP_MY_NUMBER", jp_my_number, ["999999999999"], ["############", "#### #### ####"], {"ja": ["マイナンバー", "個人番号"]}, bare=False)
    kind("NG_NIN", presidio("NgNinRecognizer"), ["99999999999"], ["###########"], {"en": ["NIN", "national identification number"]}, bare=False)
    kind("TH_TNIN", stdnum("th.pin"), ["1999999999999", "3109999999999"], ["#-####-#####-##-#", "#############"], {"th": ["เลขประจำตัวประชาชน"], "en": ["Thai id", "TNIN"]}, bare=False)
    kind("IL_ID", stdnum("il.idnr"), ["399999999", "099999999"], ["#########"], {"en": ["teudat zehut"]}, bare=False, count=4)


def dea(value: str) -> bool:
    digits = [int(c) for c in value[2:]]
    return (digits[0] + digits[2] + digits[4] + 2 * (digits[1] + digits[3] + digits[5])) % 10 == digits[6]


def sg_nric(value: str) -> bool:
    total = sum(int(d) * w for d, w in zip(value[1:8], (2, 7, 6, 5, 4, 3, 2))) + (4 if value[0] in "TG" else 0)
    return value[8] == ("JZIHGFEDCBA" if value[0] in "ST" else "XWUTRQPNMLK")[total % 11]


def tw_id(value: str) -> bool:
    letters = dict(zip("ABCDEFGHJKLMNPQRSTUVXYWZIO", range(10, 36)))
    number = f"{letters[value[0]]}{value[1:]}"
    return sum(int(d) * w for d, w in zip(number, (1, 9, 8, 7, 6, 5, 4, 3, 2, 1, 1))) % 10 == 0


def jp_my_number(value: str) -> bool:
    total = sum(int(value[10 - n]) * (n + 2 if n < 6 else n - 4) for n in range(11))
    return int(value[11]) == (0 if total % 11 <= 1 else 11 - total % 11)


def vin(value: str) -> bool:
    values = dict(zip("ABCDEFGHJKLMNPRSTUVWXYZ", [1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 7, 9, 2, 3, 4, 5, 6, 7, 8, 9]))
    weights = [8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2]
    total = sum((int(c) if c.isdigit() else values.get(c, 0)) * w for c, w in zip(value, weights))
    return value[8] == "0123456789X"[total % 11]


def addresses() -> None:
    names = ["max.mustermann", "j.doe", "anna", "o'brien", "maria-jose", "jürgen", "user+tag", "first_last", "a1", "info%sales", "søren", "x"]
    hosts = ["example.com", "mail.example.co.uk", "bücher.example.com", "exa-mple.org", "sub.dept.example.de", "example.museum", "xn--bcher-kva.example.com", "EXAMPLE.COM"]
    plain("EMAIL", [lambda: f"{R.choice(names)}@{R.choice(hosts)}"], 45)
    plain("EMAIL", [lambda: f"{R.choice(names)}{R.randint(1, 99)}@{R.choice(hosts)}"], 12, {"en": ["e-mail", "contact"], "de": ["E-Mail"], "ja": ["メール"]})
    case("en", "Write to <jane.roe@example.com>, or to jack@example.org.", ("EMAIL", "jane.roe@example.com"), ("EMAIL", "jack@example.org"))
    case("en", "https://example.com/?to=ann%40example.com&x=1", ("EMAIL", "ann%40example.com"), ("URL", "https://example.com/?to=ann%40example.com&x=1"))
    case("en", "mailto:bob@example.net?subject=Hi", ("EMAIL", "bob@example.net"))
    case("en", '"john doe"@example.com is legal', ("EMAIL", '"john doe"@example.com'))
    for text in ["git@github.com:owner/repo.git", "icon@2x.png is missing", "npm i lodash@4.17.21", "@alice wrote to @bob", "foo@bar is no address", "a @ b.com", "user@localhost", "e@@example.com..", "x@-example-.c"]:
        case("en", text)

    def phone(*parts: str) -> Callable[[], str]:
        return lambda: filled(R.choice(parts))

    plain("PHONE", [phone("+4§ 30 9999999", "+4§ (0)170 9999999", "+4§17099999999"), phone("+1 415-555-2999", "+1 (212) 555-2999", "+12125552999"), phone("+33 6 99 99 99 99", "+33 (0)1 99 99 99 99"), phone("+44 20 7946 0999", "+447700900999"), phone("+34 699 999 999", "+3§ 347 9999999", "+48 699 999 999", "+46 70-999 99 99", "+81 §0-9999-9999", "+351 §12 999 999", "+55 11 §9999-9999")], 40)
    plain("PHONE", [phone("(415) 555-2999", "415-555-2999", "415.555.2999"), phone("030 / 99999999", "0170 9999999", "0711/999999"), phone("06 99 99 99 99", "01.99.99.99.99"), phone("020 7946 0999", "07700 900999"), phone("070-999 99 99", "08-999 999 99"), phone("0§0-9999-9999", "03-3999-9999"), phone("(11) 99999-9999")], 35)
    bare = {"en": ["phone", "mobile", "cell"], "de": ["Telefonnummer", "Handynummer"], "fr": ["téléphone", "portable"], "es": ["teléfono", "móvil"], "it": ["telefono", "cellulare"], "pl": ["telefon"], "pt": ["telefone", "telemóvel"], "sv": ["telefonnummer", "mobil"], "ja": ["電話番号"]}
    plain("PHONE", [phone("4155552999"), phone("699999999", "699 999 999"), phone("0612999999"), phone("0§0§9999999")], 24, bare)
    for text in ["On 01.02.2024 and 2024-05-06 12:30", "Order 0001-234567", "Pages 100-200, 300-400", "1 000 000 000 kr", "3.14159265358979", "v10.20.30", "Room 0123", "0.123456789", "ISBN 978-3-16-148410-0", "12:30:45.123456", "2024-11-29T18:30:00Z", "Total: $1,234,567.89", "10-20-30-40"]:
        case("en", text)
    plain("IP_ADDRESS", [lambda: ".".join(str(R.randint(1, 254)) for _ in range(4)), lambda: "2001:db8::" + format(R.randint(1, 65535), "x"), lambda: ":".join(format(R.randint(4096, 65535), "x") for _ in range(8)), lambda: "fe80::1ff:fe23:" + format(R.randint(4096, 65535), "x")], 28)
    for text in ["version 1.2.3.4", "1.2.3.4.5", "256.1.1.1", "std::fmt::Debug", "12:30:45", "v1.2.3.4", "a::b", "1.2.3", "10.0.0.300"]:
        case("en", text)
    plain("MAC_ADDRESS", [lambda: ":".join(format(R.randint(0, 255), "02x") for _ in range(6)), lambda: "-".join(format(R.randint(160, 255), "02X") for _ in range(6)), lambda: "a1b2." + format(R.randint(40960, 65535), "x") + ".00ff"], 18)
    for text in ["00:11:22:33:44", "00:11:22:33:44:55:66", "12-34-56-78-90-12", "aa:bb:cc:dd:ee:gg"]:
        case("en", text)
    plain("URL", [lambda: f"https://example.com/a/{R.randint(1, 99)}?q=x#y", lambda: f"http://sub.example.org:8080/~{R.choice('abc')}", lambda: f"www.example.com/{R.randint(1, 99)}", lambda: "ftp://files.example.net/x.tar.gz"], 20)
    plain("SWIFT_CODE", [lambda: R.choice(["DEUTDEFF", "DEUTDEFF500", "BNPAFRPP", "INGBNL2A", "HSBCGB2L", "CHASUS33", "BOTKJPJT", "NDEASESS", "UBSWCHZH80A"])], 14, {"en": ["SWIFT code", "BIC"], "de": ["BIC", "SWIFT-Code der Bank"], "fr": ["BIC de la banque"], "es": ["SWIFT del banco"]})
    for text in ["ABSTRACT and COMPUTER", "THE QUESTION IS CRITICAL", "README and CHANGELOG", "OVERVIEW"]:
        case("en", text)
    plain("UK_NATIONAL_INSURANCE_NUMBER", [lambda: filled("JG999999C"), lambda: filled("TB 99 99 99 B")], 10)
    for text in ["National Insurance QQ123456C", "NINO BG123456A", "part AB1234567C", "AB 12 34 56 F"]:
        case("en", text)
    for text in ["SSN 000-12-3456", "SSN 666-12-3456", "SSN 123-00-4567", "SSN 123-45-0000", "ITIN 912-10-1234", "part 123-45-67890"]:
        case("en", text)
    context = {"en": ["account number", "bank account"]}
    plain("US_BANK_ACCOUNT_NUMBER", [lambda: filled("8999999999"), lambda: filled("899999999999")], 8, context)
    plain("US_PASSPORT_NUMBER", [lambda: filled("599999999"), lambda: filled("C99999999")], 6, {"en": ["US passport number", "passport no."]})
    plain("CREDIT_DEBIT_CARD_CVV", [lambda: filled("999")], 6, {"en": ["CVV", "security code"], "de": ["Prüfziffer"], "fr": ["cryptogramme"]})
    plain("CREDIT_DEBIT_CARD_EXPIRY", [lambda: f"{R.randint(1, 12):02}/{R.randint(26, 33)}", lambda: f"{R.randint(1, 12):02}/20{R.randint(26, 33)}"], 8, {"en": ["valid thru", "expiry date"], "de": ["gültig bis"], "es": ["caducidad"]})
    plain("DRIVER_ID", [lambda: f"MORGA{R.randint(6, 7)}{R.randint(1, 12):02}{R.randint(1, 28):02}{R.randint(0, 9)}SM9IJ"], 6)


def secrets() -> None:
    letters, base = string.ascii_letters + string.digits, string.ascii_letters + string.digits + "-_"

    def some(count: int, of: str = letters) -> str:
        return "".join(R.choice(of) for _ in range(count - 3)) + "a7Q"

    # Put together here, so that no scanner of repositories takes this file for a leak.
    makers = [
        lambda: "gh" + "p_" + some(36),
        lambda: "github" + "_pat_" + some(22) + "_" + some(59),
        lambda: "gl" + "pat-" + some(20, base),
        lambda: "xox" + "b-" + filled("999999999999-999999999999-") + some(24),
        lambda: "sk_" + "live_" + some(24),
        lambda: "AI" + "za" + some(35, base),
        lambda: "sk-" + "ant-api03-" + some(90, base),
        lambda: "npm" + "_" + some(36),
        lambda: "hf" + "_" + some(34),
        lambda: "SG" + "." + some(22, base) + "." + some(43, base),
    ]
    plain("API_KEY", makers, 40)
    plain("AWS_ACCESS_KEY", [lambda: "AK" + "IA" + "".join(R.choice(string.ascii_uppercase + "234567") for _ in range(16)), lambda: "AS" + "IA" + "".join(R.choice(string.ascii_uppercase + "234567") for _ in range(16))], 14)
    plain("AWS_SECRET_KEY", [lambda: some(20, letters + "/+") + "x4" + some(18)], 12)
    plain("JSON_WEB_TOKEN", [lambda: "ey" + "JhbGciOiJSUzI1NiJ9." + "eyJzdWIiOiI" + some(20) + "." + some(86, base)], 12)
    key = "-----BEGIN " + "PRIVATE KEY-----\n" + some(64) + "\n" + some(64) + "\n-----END PRIVATE KEY-----"
    case("en", "The key:\n" + key + "\nKeep it.", ("PRIVATE_KEY", key))
    key = ("-----BEGIN " + "RSA PRIVATE KEY-----\n" + some(64) + "\n-----END RSA PRIVATE KEY-----").replace("\n", "\\n")
    case("en", '{"key": "' + key + '"}', ("PRIVATE_KEY", key))
    for text in ["sk-learn is a library", "npm_install_package", "hf_hub_download", "xoxo-", "AKIA is a prefix", "eyJ is how it begins", "da39a3ee5e6b4b0d3255bfef95601890afd80709", "commit 4a611dd7c1d6d848b779e4af9178e8618abaa1c4", "-----BEGIN CERTIFICATE-----", "550e8400-e29b-41d4-a716-446655440000", "ghp_short", "glpat-"]:
        case("en", text)
    check = presidio("CryptoRecognizer")
    for number in range(10):
        value = base58check(bytes([R.choice([0, 5])]) + R.randbytes(20))
        assert check(value), value
        lang = LANGUAGES[number]
        case(lang, sentence(WITHOUT, lang, value), ("CRYPTO", value))
        if number % 2:
            case(lang, sentence(WITHOUT, lang, value[:-1] + ("x" if value[-1] != "x" else "y")))
    for value in ["bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq", "bc1p5d7rjq7g6rdk2yhzks9smlaqtedr4dekq08ge8ztwac72sfr9rusxg3297"]:
        case("en", f"Send it to {value}.", ("CRYPTO", value))
        case("en", f"Send it to {value[:-1]}0.")


def base58check(body: bytes) -> str:
    from hashlib import sha256

    data = body + sha256(sha256(body).digest()).digest()[:4]
    digits, number, text = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz", int.from_bytes(data, "big"), ""
    while number:
        number, rest = divmod(number, 58)
        text = digits[rest] + text
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + text


def numbers() -> None:
    """Numbers of orders, parcels and the like, which are nobody's. Some of them pass a check by chance."""
    words = {
        "en": ["Order {v} has shipped.", "Invoice no. {v} is paid.", "Ticket #{v} was closed.", "SKU {v}, 3 pieces"],
        "de": ["Bestellung {v} ist unterwegs.", "Rechnung Nr. {v} ist bezahlt.", "Vorgang {v} geschlossen"],
        "fr": ["La commande {v} est expédiée.", "Facture n° {v} payée"],
        "es": ["El pedido {v} ha salido.", "Factura n.º {v} pagada"],
        "it": ["L'ordine {v} è partito.", "Fattura n. {v} pagata"],
        "pl": ["Zamówienie {v} zostało wysłane.", "Faktura nr {v} opłacona"],
        "pt": ["O pedido {v} foi enviado.", "Fatura n.º {v} paga"],
        "sv": ["Order {v} har skickats.", "Faktura nr {v} är betald"],
        "ja": ["注文{v}を発送しました。", "請求書{v}"],
    }
    for number in range(180):
        lang = list(words)[number % len(words)]
        value = filled("1" + "9" * R.randint(6, 16)) if number % 3 else filled("9" * R.randint(7, 12))
        case(lang, R.choice(words[lang]).format(v=value))
    for number in range(60):
        lang = list(words)[number % len(words)]
        value = filled(R.choice(["AA-999999", "A9999999", "99-9999-A", "AAA-9999999", "9999-99-99-9999", "A99A99A99", "XXXXXXXX", "XXXXXXXXXXXX"]))
        case(lang, R.choice(words[lang]).format(v=value))
    for text in ["1732900000000", "1732900000", "created_at=1700000123", "ts: 1699999999999", "4.2e10", "0xDEADBEEF00112233", "3,141,592,653", "Version 20241129123456", "id=00000000000000", "9999999999999999", "1111-1111-1111-1111", "0000 0000 0000 0000", "ISBN 9783161484100", "EAN 4006381333931"]:
        case("en", text)


def others() -> None:
    """Numbers that neither library checks."""

    def nuss(value: str) -> bool:
        province, serial = int(value[:2]), int(value[2:10])
        whole = province * (10**7 if serial < 10**7 else 10**8) + serial
        return whole % 97 == int(value[10:])

    def dowod(value: str) -> bool:
        values = [int(c) if c.isdigit() else ord(c) - 55 for c in value]
        return sum(v * w for v, w in zip(values, (7, 3, 1, 9, 7, 3, 1, 7, 3))) % 10 == 0

    kind("ES_SOCIAL_SECURITY", nuss, ["289999999999", "089999999999"], ["############", "##/########/##"], {"es": ["NUSS", "número de la Seguridad Social"]})
    kind("PL_ID_CARD", dowod, ["AAA999999"], ["#########", "### ######"], {"pl": ["dowód osobisty", "numer dowodu"]}, bare=False)
    case("es", "RFC: VECJ880326XXX", ("MX_RFC", "VECJ880326XXX"))
    case("es", "El RFC es GODE561231GR8.", ("MX_RFC", "GODE561231GR8"))
    url = "postgres://app:s3cret-word@db.example.com/x"
    case("en", url, ("URL", url), ("PASSWORD", "s3cret-word"))
    url = "redis://:hunter2@10.0.0.9:6379"
    case("en", url, ("URL", url), ("PASSWORD", "hunter2"), ("IP_ADDRESS", "10.0.0.9"))


def main() -> None:
    if sys.version_info < (3, 10):
        raise SystemExit("python >= 3.10 is needed")
    for make in (cards, ibans, people, vague, addresses, secrets, numbers, others):
        make()
    seen, lines = set(), []
    for one in CASES:
        if one["text"] not in seen:
            seen.add(one["text"])
            lines.append(json.dumps(one, ensure_ascii=False) + "\n")
    (HERE / "cases.jsonl").write_text("".join(lines))
    print(f"{len(lines)} cases")


if __name__ == "__main__":
    main()
