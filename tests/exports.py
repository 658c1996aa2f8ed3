"""Made-up exports of hospitals: virtual patients under the headings, units, words and habits of several
countries, with the mapping that is right.

Each line of an export is `heading | meaning | how`. The meaning is a variable of the dictionary, `id`, `site`,
or one of the words in `OTHER` for columns that no mapping should read. How: `*0.1` a factor, `.0` decimals, `a/b`
words for yes and no, `x=y` words of a level.
"""

import warnings
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd

import genomed_workbench as gw
from genomed_workbench.clinic.dictionary import dictionary

OTHER = (
    "surname",
    "first name",
    "birth",
    "record",
    "nhs",
    "fiscal",
    "dni",
    "mail",
    "phone",
    "street",
    "note",
    "later hb",
    "percent",
    "vaf",
    "mcv",
    "crp",
    "treatment",
    "score",
    "sample",
    "text",
    "physician",
)
COMMON = {"sex": "female=f, male=m"}

GERMANY = """
Pat-Nr. | id
Nachname | surname
Vorname | first name
Geb.-Datum | birth
Geschlecht | sex | female=w, male=m
Alter bei ED | age | .0
Datum ED | diagnosis_date
Hb (g/l) | hemoglobin | *10 .0
Thrombozyten (Tsd/µl) | platelets | .0
Leukozyten (Tsd/µl) | white_cells | .1
Neutrophile abs. (Tsd/µl) | neutrophils | .2
Neutrophile % | percent
Blasten KM (%) | marrow_blasts | .0
Blasten PB (%) | blood_blasts | .0
Ringsideroblasten % | ring_sideroblasts | .0
Karyotyp | karyotype
Komplexer Karyotyp | complex | ja/nein
del(5q) | del5q | ja/nein
SF3B1 | SF3B1 | mut/wt
TP53 | TP53 | mut/wt
ASXL1 | ASXL1 | mut/wt
RUNX1 | RUNX1 | mut/wt
TET2 | TET2 | mut/wt
Hb nach 6 Monaten | later hb
MCV | mcv
Therapie | treatment
verstorben | death | ja/nein
Datum letzter Kontakt | last_contact_date
Bemerkung | note
"""
ITALY = """
ID paziente | id
Cognome | surname
Nome | first name
Data di nascita | birth
Codice fiscale | fiscal
Sesso | sex | female=F, male=M
Età alla diagnosi | age | .0
Data diagnosi | diagnosis_date
Emoglobina (g/dL) | hemoglobin | .1
Piastrine (x10^9/L) | platelets | .0
GB (x10^9/L) | white_cells | .2
Neutrofili (x10^9/L) | neutrophils | .2
Monociti (x10^9/L) | monocytes | .2
Blasti midollari % | marrow_blasts | .0
Cariotipo | karyotype
Rischio citogenetico IPSS-R | cytogenetic_risk | 0=Very good, 1=Good, 2=Intermediate, 3=Poor, 4=Very poor
SF3B1 | SF3B1 | positivo/negativo
SRSF2 | SRSF2 | positivo/negativo
U2AF1 | U2AF1 | positivo/negativo
TP53 | TP53 | positivo/negativo
DNMT3A | DNMT3A | positivo/negativo
Stato vitale | death | deceduto/vivo
Data ultimo follow-up | last_contact_date
PCR | crp
Note | note
"""
SPAIN = """
NHC | record
Código paciente | id
Nombre y apellidos | surname
DNI | dni
Fecha de nacimiento | birth
Sexo | sex | female=M, male=H
Edad al diagnóstico | age | .0
Fecha diagnóstico | diagnosis_date
Hb (g/dl) | hemoglobin | .1
Plaquetas (/mm3) | platelets | *1000 .0
Leucocitos (/mm3) | white_cells | *1000 .0
Neutrófilos (/mm3) | neutrophils | *1000 .0
Blastos MO (%) | marrow_blasts | .0
Blastos SP (%) | blood_blasts | .0
Cariotipo | karyotype
Cariotipo complejo | complex | Sí/No
ASXL1 mutado | ASXL1 | Sí/No
TET2 mutado | TET2 | Sí/No
TP53 mutado | TP53 | Sí/No
EZH2 mutado | EZH2 | Sí/No
Éxitus | death | Sí/No
Fecha última visita | last_contact_date
Observaciones | note
Teléfono | phone
"""
FRANCE = """
IPP | record
N° patient | id
Nom | surname
Prénom | first name
DDN | birth
Sexe | sex | female=F, male=H
Age au diagnostic | age | .0
Date diagnostic | diagnosis_date
Hb (g/dl) | hemoglobin | .1
Plaquettes (G/L) | platelets | .0
Leucocytes (G/L) | white_cells | .1
PNN (G/L) | neutrophils | .2
Blastes médullaires (%) | marrow_blasts | .0
Caryotype | karyotype
Caryotype complexe | complex | oui/non
SF3B1 | SF3B1 | muté/non muté
SRSF2 | SRSF2 | muté/non muté
IDH2 | IDH2 | muté/non muté
TP53 | TP53 | muté/non muté
Statut vital | death | Décédé/Vivant
Date dernières nouvelles | last_contact_date
Médecin traitant | physician
Commentaires | note
"""
ENGLAND = """
NHS Number | nhs
Study ID | id
Hospital | site
DOB | birth
Gender | sex | female=Female, male=Male
Age at diagnosis | age | .0
Date of diagnosis | diagnosis_date
Haemoglobin (g/L) | hemoglobin | *10 .0
Platelet count (10^9/L) | platelets | .0
WCC (10^9/L) | white_cells | .1
Neutrophil count | neutrophils | .2
BM blasts % | marrow_blasts | .0
PB blasts % | blood_blasts | .0
Ferritin at diagnosis (ug/L) | ferritin | .0
Karyotype | karyotype
SF3B1 mutation | SF3B1 | Y/N
SF3B1 VAF | vaf
TP53 mutation | TP53 | Y/N
ASXL1 mutation | ASXL1 | Y/N
STAG2 mutation | STAG2 | Y/N
Vital status | death | Dead/Alive
Date last seen | last_contact_date
Postcode | street
Comments | note
"""
PROGRAM = """
ID | id
AGE | age | .2
SEX | sex | female=F, male=M
HB | hemoglobin | .1
PLT | platelets | .0
ANC | neutrophils | .2
WBC | white_cells | .2
BM_BLAST | marrow_blasts | .1
CYTO_IPSSR | cytogenetic_risk | 0=Very-Good, 1=Good, 2=Int, 3=Poor, 4=Very-Poor
CYTOGENETICS | karyotype
del5q | del5q | 1/0
del7_7q | del7_7q | 1/0
del17_17p | del17_17p | 1/0
complex | complex | complex/non-complex
TP53mut | TP53_mutations | .0
TP53maxvaf | TP53_max_vaf | .3
TP53loh | TP53_loh | 1/0
FLT3 | FLT3 | 1/0
MLL_PTD | MLL_PTD | 1/0
SF3B1 | SF3B1 | 1/0
NPM1 | NPM1 | 1/0
RUNX1 | RUNX1 | 1/0
NRAS | NRAS | 1/0
OS_YEARS | os_years | .3
OS_STATUS | death | 1/0
"""
CRYPTIC = """
subj_id | id
site_code | site
sx | sex | female=2, male=1
age_dx | age | .0
hgb_bl | hemoglobin | .1
hgb_m6 | later hb
plt_bl | platelets | .0
wbc_bl | white_cells | .1
anc_bl | neutrophils | .2
bm_blast_pct | marrow_blasts | .0
ngs_tp53 | TP53 | 1/0
ngs_sf3b1 | SF3B1 | 1/0
ngs_asxl1 | ASXL1 | 1/0
ngs_runx1 | RUNX1 | 1/0
ngs_ezh2 | EZH2 | 1/0
os_months | os_years | *12 .1
os_event | death | 1/0
hma_given | treatment
crp_bl | crp
batch | text
"""
CASE = """
record_id | id
demo_name | surname
demo_email | mail
demo_sex | sex | female=Female, male=Male
age_at_diagnosis | age | .0
cbc_hgb_g_dl | hemoglobin | .1
cbc_plt_10e9_l | platelets | .0
cbc_wbc_10e9_l | white_cells | .1
cbc_anc_10e9_l | neutrophils | .2
bm_blasts_percent | marrow_blasts | .0
rs_percent | ring_sideroblasts | .0
iscn_karyotype | karyotype
mut_tet2 | TET2 | Detected/Not detected
mut_dnmt3a | DNMT3A | Detected/Not detected
mut_tp53 | TP53 | Detected/Not detected
mut_zrsr2 | ZRSR2 | Detected/Not detected
date_of_diagnosis | diagnosis_date
date_of_death | death_date
date_last_followup | last_contact_date
died | death | Yes/No
remarks | note
"""
GERMAN_AML = """
Pseudonym | id
Klinik | site
Geschl. | sex | female=weiblich, male=männlich
Alter | age | .0
Hb g/dl | hemoglobin | .1
Thrombos G/l | platelets | .0
Leukos G/l | white_cells | .1
LDH U/l | ldh | .0
KM-Blasten % | marrow_blasts | .0
PB-Blasten % | blood_blasts | .0
NPM1 | NPM1 | pos./neg.
FLT3-ITD | FLT3_ITD | pos./neg.
FLT3-TKD | FLT3_TKD | pos./neg.
CEBPA biallelisch | CEBPA_bi | pos./neg.
DNMT3A | DNMT3A | pos./neg.
IDH1 | IDH1 | pos./neg.
IDH2 | IDH2 | pos./neg.
TP53 | TP53 | pos./neg.
t(8;21) | t_8_21 | ja/nein
inv(16) | inv16 | ja/nein
t(15;17) | t_15_17 | ja/nein
Tod | death | ja/nein
Überlebenszeit (Monate) | os_years | *12 .1
Induktion | treatment
"""
ITALIAN_MM = """
codice paziente | id
centro | site
sesso | sex | female=femmina, male=maschio
età | age | .0
Hb (g/dl) | hemoglobin | .1
calcio (mg/dl) | calcium | .1
creatinina (mg/dl) | creatinine | .2
beta2-microglobulina (mg/l) | beta2_microglobulin | .1
albumina (g/dl) | albumin | .1
ISS | iss | .0
t(4;14) | t_4_14 | sì/no
t(14;16) | t_14_16 | sì/no
t(11;14) | t_11_14 | sì/no
del(17p) | del17p | sì/no
gain 1q | gain_1q | sì/no
LDH elevato | ldh_high | sì/no
OS mesi | os_years | *12 .1
decesso | death | sì/no
terapia | treatment
"""
NETHERLANDS = """
Studienummer | id
Achternaam | surname
Geboortedatum | birth
Geslacht | sex | female=vrouw, male=man
Leeftijd bij diagnose | age | .0
Datum diagnose | diagnosis_date
Hb (mmol/l) | hemoglobin | /1.61145 .1
Trombocyten (10^9/l) | platelets | .0
Leukocyten (10^9/l) | white_cells | .1
Neutrofielen (10^9/l) | neutrophils | .2
Blasten beenmerg (%) | marrow_blasts | .0
Karyotype | karyotype
TP53 mutatie | TP53 | ja/nee
SF3B1 mutatie | SF3B1 | ja/nee
ASXL1 mutatie | ASXL1 | ja/nee
Overleden | death | ja/nee
Datum laatste contact | last_contact_date
Opmerkingen | note
"""
PORTUGAL = """
Nº processo | record
Código do doente | id
Nome | surname
Data de nascimento | birth
Sexo | sex | female=feminino, male=masculino
Idade ao diagnóstico | age | .0
Data do diagnóstico | diagnosis_date
Hemoglobina (g/dL) | hemoglobin | .1
Plaquetas (x10^9/L) | platelets | .0
Leucócitos (x10^9/L) | white_cells | .1
Neutrófilos (x10^9/L) | neutrophils | .2
Blastos medulares (%) | marrow_blasts | .0
Cariótipo | karyotype
TP53 | TP53 | Sim/Não
TET2 | TET2 | Sim/Não
RUNX1 | RUNX1 | Sim/Não
Óbito | death | Sim/Não
Data da última consulta | last_contact_date
Observações | note
"""
UK_AML = """
Trial Number | id
Centre | site
Initials | first name
Sex (M/F) | sex | female=F, male=M
Age (years) | age | .0
Haemoglobin g/l | hemoglobin | *10 .0
Platelets x10^9/l | platelets | .0
WBC x10^9/l | white_cells | .1
LDH iu/l | ldh | .0
Blasts BM (%) | marrow_blasts | .0
Blasts PB (%) | blood_blasts | .0
NPM1 status | NPM1 | Mutated/Wild type
FLT3 ITD | FLT3_ITD | Mutated/Wild type
FLT3 ITD ratio | vaf
RUNX1 status | RUNX1 | Mutated/Wild type
ASXL1 status | ASXL1 | Mutated/Wild type
TP53 status | TP53 | Mutated/Wild type
complex karyotype | complex | Yes/No
t(8;21) | t_8_21 | Yes/No
inv(16) | inv16 | Yes/No
Survival (days) | os_years | *365.25 .0
Status at last FU | death | Dead/Alive
Response | treatment
"""
US_MM = """
Patient ID | id
MRN | record
Last Name | surname
Gender | sex | female=Female, male=Male
Age at Dx | age | .0
Hgb (g/dL) | hemoglobin | .1
Calcium (mg/dL) | calcium | .1
Creatinine (mg/dL) | creatinine | .2
B2M (mg/L) | beta2_microglobulin | .1
Albumin (g/dL) | albumin | .1
ISS Stage | iss | 1=I, 2=II, 3=III
FISH t(4;14) | t_4_14 | Positive/Negative
FISH t(14;16) | t_14_16 | Positive/Negative
FISH del(17p) | del17p | Positive/Negative
FISH 1q gain | gain_1q | Positive/Negative
Elevated LDH | ldh_high | Yes/No
OS (months) | os_years | *12 .1
Deceased | death | Yes/No
Induction regimen | treatment
Address | street
"""
AUSTRIA = """
Lfd. Nr. | id
Zuname | surname
SV-Nr. | record
Sex | sex | female=W, male=M
Alter (Jahre) | age | .0
Hämoglobin [g/dL] | hemoglobin | .1
Hämoglobin Verlauf | later hb
Thrombozyten [G/L] | platelets | .0
Leukozyten [G/L] | white_cells | .2
abs. Neutrophile [G/L] | neutrophils | .2
Blasten Knochenmark [%] | marrow_blasts | .0
Karyotyp (ISCN) | karyotype
IPSS-R Zytogenetik | cytogenetic_risk | 0=very good, 1=good, 2=intermediate, 3=poor, 4=very poor
NGS SF3B1 | SF3B1 | +/-
NGS TP53 | TP53 | +/-
NGS TET2 | TET2 | +/-
NGS ASXL1 | ASXL1 | +/-
Erstdiagnose | diagnosis_date
letzte Kontrolle | last_contact_date
Exitus | death | j/n
Anmerkung | note
"""
SPANISH_MM = """
ID | id
Hospital | site
Género | sex | female=mujer, male=hombre
Edad | age | .0
Hemoglobina (g/L) | hemoglobin | *10 .0
Calcio sérico (mg/dL) | calcium | .1
Creatinina sérica (mg/dL) | creatinine | .2
Beta-2 microglobulina (mg/L) | beta2_microglobulin | .1
Albúmina (g/dL) | albumin | .1
Estadio ISS | iss | 1=I, 2=II, 3=III
t(4;14) | t_4_14 | sí/no
t(14;16) | t_14_16 | sí/no
t(11;14) | t_11_14 | sí/no
del17p | del17p | sí/no
Ganancia 1q | gain_1q | sí/no
Supervivencia global (meses) | os_years | *12 .1
Fallecido | death | sí/no
Tratamiento | treatment
"""
BELGIUM = """
Dossiernr | record
Patiëntcode | id
Naam | surname
Geb.datum | birth
Geslacht (M/V) | sex | female=V, male=M
Leeftijd | age | .0
Hb (g/dL) | hemoglobin | .1
Plaatjes (10*9/L) | platelets | .0
WBC (10*9/L) | white_cells | .1
ANC (10*9/L) | neutrophils | .2
Blasten BM % | marrow_blasts | .0
Blasten PB % | blood_blasts | .0
Karyotype ISCN | karyotype
Cytogenetisch risico | cytogenetic_risk | 0=very good, 1=good, 2=intermediate, 3=poor, 4=very poor
TP53 mut | TP53 | 1/0
TP53 VAF (%) | TP53_max_vaf | *100 .0
SF3B1 mut | SF3B1 | 1/0
U2AF1 mut | U2AF1 | 1/0
Datum diagnose | diagnosis_date
Datum overlijden | death_date
Datum laatste follow-up | last_contact_date
Status (1=overleden, 0=levend) | death | 1/0
Behandeling | treatment
Huisarts | physician
"""
SWITZERLAND = """
PID | id
AHV-Nr. | record
Spital | site
Geschlecht | sex | female=Frau, male=Mann
Alter bei Diagnose | age | .0
Hämoglobin g/l | hemoglobin | *10 .0
Kalzium mg/dl | calcium | .1
Kreatinin mg/dl | creatinine | .2
Beta2-Mikroglobulin mg/l | beta2_microglobulin | .1
Albumin g/l | albumin | *10 .0
CRP mg/l | crp
ISS-Stadium | iss | 1=I, 2=II, 3=III
t(4;14) | t_4_14 | positiv/negativ
t(14;16) | t_14_16 | positiv/negativ
Del17p | del17p | positiv/negativ
Zugewinn 1q21 | gain_1q | positiv/negativ
hyperdiploid | hyperdiploid | positiv/negativ
LDH erhöht | ldh_high | ja/nein
OS (Monate) | os_years | *12 .1
Todesfall | death | ja/nein
Albumin nach Therapie | later hb
Kommentar | note
"""
ITALIAN_AML = """
codice studio | id
iniziali | first name
nato il | birth
sesso (M/F) | sex | female=F, male=M
eta alla diagnosi (anni) | age | .0
data di diagnosi | diagnosis_date
Hb g/dl | hemoglobin | .1
PLT x10e9/l | platelets | .0
WBC x10e9/l | white_cells | .1
LDH (U/L) | ldh | .0
blasti midollo (%) | marrow_blasts | .0
blasti periferici (%) | blood_blasts | .0
NPM1 (pos/neg) | NPM1 | pos/neg
FLT3-ITD (pos/neg) | FLT3_ITD | pos/neg
FLT3-ITD allelic ratio | vaf
CEBPA (pos/neg) | CEBPA | pos/neg
RUNX1 (pos/neg) | RUNX1 | pos/neg
TP53 (pos/neg) | TP53 | pos/neg
cariotipo complesso | complex | si/no
t(8;21) | t_8_21 | si/no
inv(16) | inv16 | si/no
exitus | death | si/no
data exitus o ultimo contatto | text
induzione | treatment
"""
SICKLE = """
Study code | id
Centre | site
Sex | sex | female=F, male=M
Age (y) | age | .0
Genotype | diagnosis | SS=HbSS, SC=HbSC, S-beta0=HbSβ0, S-beta+=HbSβ+, S-other=other, S-HPFH=HbS/HPFH
Hb (g/dL) | hemoglobin | .1
HbF (%) | fetal_hemoglobin | .1
WBC (10^9/L) | white_cells | .1
Platelets (10^9/L) | platelets | .0
Retics (%) | reticulocytes | .1
LDH (IU/L) | ldh | .0
Bilirubin (mg/dL) | bilirubin | .1
SpO2 (%) | oxygen_saturation | .0
Systolic BP | systolic_pressure | .0
TRV (m/s) | tricuspid_velocity | .1
On hydroxyurea | hydroxyurea | Yes/No
Chronic transfusions | transfusion | Yes/No
VOE last 2 years | voe_2y | .0
Acute chest syndrome ever | acute_chest_syndrome | Yes/No
Overt stroke | stroke | Yes/No
Silent infarct on MRI | silent_infarct | Yes/No
GP name | physician
Home telephone | phone
"""
CATALONIA = """
NHC pacient | record
Codi | id
Nom i cognoms | surname
Sexe (H/D) | sex | female=D, male=H
Edat | age | .0
Data diagnòstic | diagnosis_date
Hemoglobina g/L | hemoglobin | *10 .0
Plaquetes x10^9/L | platelets | .0
Leucòcits x10^9/L | white_cells | .1
Neutròfils x10^9/L | neutrophils | .2
Blasts MO % | marrow_blasts | .0
Cariotip | karyotype
TP53 | TP53 | Mutat/No mutat
SF3B1 | SF3B1 | Mutat/No mutat
ASXL1 | ASXL1 | Mutat/No mutat
Exitus | death | S/N
Data darrer control | last_contact_date
Tractament | treatment
Comentaris | note
"""
EXPORTS = {  # name -> disease, lines, decimal sign, way to write dates, spelling of missing
    "Germany": ("mds", GERMANY, ",", "%d.%m.%Y", "n.b."),
    "Italy": ("mds", ITALY, ",", "%d/%m/%Y", ""),
    "Spain": ("mds", SPAIN, ",", "%d/%m/%Y", ""),
    "France": ("mds", FRANCE, ",", "%d/%m/%Y", "ND"),
    "England": ("mds", ENGLAND, ".", "%d/%m/%Y", "Unknown"),
    "program": ("mds", PROGRAM, ".", "%Y-%m-%d", "NA"),
    "cryptic": ("mds", CRYPTIC, ".", "%Y-%m-%d", ""),
    "case report form": ("mds", CASE, ".", "%Y-%m-%d", ""),
    "German AML": ("aml", GERMAN_AML, ",", "%d.%m.%Y", "k.A."),
    "Italian myeloma": ("mm", ITALIAN_MM, ",", "%d/%m/%Y", ""),
}
HELD_OUT = {  # written before the first measurement, and never looked at while the proposals were improved
    "Netherlands": ("mds", NETHERLANDS, ",", "%d-%m-%Y", ""),
    "Portugal": ("mds", PORTUGAL, ",", "%d/%m/%Y", ""),
    "British AML": ("aml", UK_AML, ".", "%d/%m/%Y", "unk"),
    "American myeloma": ("mm", US_MM, ".", "%m/%d/%Y", "N/A"),
    "Austria": ("mds", AUSTRIA, ",", "%d.%m.%Y", "?"),
    "Spanish myeloma": ("mm", SPANISH_MM, ",", "%d/%m/%Y", ""),
}
FRESH = {  # written after the held-out ones had been looked at, measured once
    "Belgium": ("mds", BELGIUM, ",", "%d/%m/%Y", "onb"),
    "Switzerland": ("mm", SWITZERLAND, ".", "%d.%m.%Y", "nb"),
    "Italian AML": ("aml", ITALIAN_AML, ",", "%d/%m/%Y", "np"),
    "sickle cell clinic": ("scd", SICKLE, ".", "%d-%b-%Y", ""),
    "Catalonia": ("mds", CATALONIA, ",", "%Y-%m-%d", "NC"),
}


@dataclass(frozen=True)
class Export:
    "A hospital's table, and what its columns mean."

    disease: str
    frame: pd.DataFrame  # texts
    meaning: dict[str, str]  # variable, "id", "site" or one of OTHER by heading
    patients: pd.DataFrame  # the patients behind it, canonical

    @property
    def right(self) -> dict[str, str]:
        "Variable by heading, for the columns that hold one."
        return {
            heading: meant
            for heading, meant in self.meaning.items()
            if meant in dictionary(self.disease)
        }


@cache
def patients_of(disease: str, n: int = 150) -> pd.DataFrame:
    "Virtual patients with dates."
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gw.CohortWarning)
        frame = gw.load_cohort(f"virtual-{disease}", n=n, seed=7).frame.copy()
    rng = np.random.default_rng(3)
    start = pd.Timestamp("2009-01-01") + pd.to_timedelta(
        rng.integers(0, 3000, len(frame)), unit="D"
    )
    if "os_years" not in frame:
        return frame.reset_index(drop=True)
    end = start + pd.to_timedelta((frame["os_years"].to_numpy() * 365.25).round(), unit="D")
    dead = frame["death"].to_numpy() == 1
    return frame.assign(
        diagnosis_date=start,
        last_contact_date=end,
        death_date=pd.Series(end, index=frame.index).where(dead),
    ).reset_index(drop=True)


@cache
def export(name: str) -> Export:
    "An export by its name."
    disease, lines, decimal, dates, missing = (EXPORTS | HELD_OUT | FRESH)[name]
    patients, rng, frame, meaning = patients_of(disease), np.random.default_rng(len(name)), {}, {}
    for line in lines.strip().splitlines():
        heading, meant, how = ([part.strip() for part in line.split("|")] + [""])[:3]
        cells = _column(meant, how, patients, dictionary(disease), rng, decimal, dates)
        frame[heading] = [missing if cell is None else cell for cell in cells]
        meaning[heading] = meant
    return Export(disease, pd.DataFrame(frame, dtype=object).replace("", np.nan), meaning, patients)


def _column(meant, how, patients, book, rng, decimal, dates) -> list:
    n = len(patients)
    if meant == "id":
        return [f"{10_000 + number}" for number in rng.permutation(n)]
    if meant == "site":
        return list(rng.choice(["North", "South", "West"], n))
    if meant not in book:
        return [
            None
            if cell is None
            else str(cell).replace(".", decimal)
            if isinstance(cell, float)
            else str(cell)
            for cell in _other(meant, n, rng)
        ]
    if meant not in patients:
        return _made_up(book[meant], how, n, rng)
    return [
        None if value is None or value != value else _cell(value, how, book[meant], decimal, dates)
        for value in patients[meant].astype(object)
    ]


def _cell(value, how, variable, decimal, dates) -> str:
    if variable.kind == "date":
        return value.strftime(dates)
    if "=" in how:
        words = dict(pair.split("=") for pair in how.split(", "))
        return words[str(int(value)) if variable.kind == "ordinal" else str(value)]
    if variable.kind == "yes-no":
        return how.split("/")[0 if value else 1]
    if variable.kind == "text":
        return str(value)
    number, places = float(value), "1"
    for part in how.split():
        if part[0] in "*/":
            number = number * float(part[1:]) if part[0] == "*" else number / float(part[1:])
        else:
            places = part[1:]
    return f"{number:.{places}f}".replace(".", decimal)


def _made_up(variable, how, n, rng) -> list:
    "A variable that the virtual patients do not have."
    if variable.kind == "yes-no":
        return [how.split("/")[0 if yes else 1] for yes in rng.random(n) < 0.2]
    return [
        f"{value:.0f}"
        for value in rng.uniform(*(variable.usual or variable.plausible or (0, 1)), n)
    ]


def _other(kind: str, n: int, rng) -> list:
    "A column that no mapping should read."
    names = [
        "Meier",
        "Rossi",
        "García",
        "Dupont",
        "Smith",
        "Nowak",
        "Silva",
        "Jansen",
        "Keller",
        "Moretti",
    ]
    first = ["Anna", "Paolo", "Lucía", "Jean", "Mary", "Jan", "Rita", "Piet", "Urs", "Gina"]
    pick = lambda words: list(rng.choice(words, n))
    made = {
        "surname": lambda: pick(names),
        "first name": lambda: pick(first),
        "birth": lambda: [
            f"{d:02d}.{m:02d}.{y}"
            for d, m, y in zip(
                rng.integers(1, 29, n), rng.integers(1, 13, n), rng.integers(1930, 1980, n)
            )
        ],
        "record": lambda: [f"{x}" for x in rng.integers(10**6, 10**7, n)],
        "nhs": lambda: [
            f"{x // 10**7} {x // 10**4 % 1000:03d} {x % 10**4:04d}"
            for x in rng.integers(4 * 10**9, 7 * 10**9, n)
        ],
        "fiscal": lambda: [
            "".join(rng.choice(list("BCDFGLMNRST"), 6)) + f"{y:02d}H{d:02d}F{c:03d}X"
            for y, d, c in zip(
                rng.integers(30, 80, n), rng.integers(1, 29, n), rng.integers(100, 999, n)
            )
        ],
        "dni": lambda: [
            f"{x}{'TRWAGMYFPDXBNJZSQVHLCKE'[x % 23]}" for x in rng.integers(10**7, 10**8, n)
        ],
        "mail": lambda: [
            f"{a.lower()}{i}@example.org" for i, a in enumerate(pick(["anna", "paolo"]))
        ],
        "phone": lambda: [f"+34 6{x}" for x in rng.integers(10**7, 10**8, n)],
        "street": lambda: [
            f"{s} {x}"
            for s, x in zip(
                pick(["Main Street", "Oak Avenue", "High Road"]), rng.integers(1, 90, n)
            )
        ],
        "note": lambda: [
            f"Patient seen on ward {x}, transfusion given, no complaints so far" if x % 2 else None
            for x in rng.integers(1, 90, n)
        ],
        "later hb": lambda: list(np.round(rng.normal(10, 1.5, n), 1)),
        "percent": lambda: [int(x) for x in rng.integers(20, 80, n)],
        "vaf": lambda: [float(x) if x > 0.1 else None for x in np.round(rng.random(n) * 0.6, 3)],
        "mcv": lambda: [int(x) for x in rng.normal(98, 8, n)],
        "crp": lambda: [float(x) for x in np.round(rng.exponential(8, n), 1)],
        "treatment": lambda: pick(["azacitidine", "lenalidomide", "supportive"]),
        "score": lambda: [float(x) for x in np.round(rng.normal(3, 2, n), 1)],
        "sample": lambda: [int(x) for x in rng.lognormal(6, 1, n)],
        "text": lambda: pick(["A1", "A2", "B1"]),
        "physician": lambda: pick([f"Dr. {name}" for name in names]),
    }
    return made[kind]()
