"""Words of the English dialogues. A noun comes with its determiner ("the nightly backup", "my order"),
so that it can be copied as a whole."""
from support.names import STEM, latin_name, error_code, version

MODIFIER = """automatic nightly bulk offline two-way shared guest encrypted one-click live scheduled anonymous quick local team
parental voice remote silent split-screen read-only recurring grouped temporary global low-power joint partial smart manual
hourly delayed priority staged private trial regional hands-free inline pinned""".split()
FEATURE = """tagging|archive|sync|reminder|link|watermark|captions list|transcript|rota|check-in|receipt|summary|masking|drafts
folder|board|recorder|cast|price match|signature|snapshot|rollback|inspection|matching|split payment|handover|speed test
|cleanup|proofreader|announcement|stocktake|message wall|calendar|allowlist|blocklist|channel|billing|replay|countdown|filter
|preview|timer|search|shortcut|queue|forwarding|mirror|pairing|heat map|checkout|poll|badge""".replace("\n", " ").replace(" |", "|").split("|")
OBJECT = """invoice|order|workspace|album|survey|account|coupon|membership card|folder|group|password|profile picture|course|parcel
|trip|contract|sub-account|shipping address|bank card|phone number|review|draft|attachment|contact|event page|quote|purchase
order|duty roster|to-do list|playlist|shopping cart|refund request|invite code|notebook|certificate|domain|store|table
booking|subscription|deposit|gift card|post|business card|recording|video clip|ticket|seat|timesheet|log file|warranty card
|voucher|payslip|claim|reservation|bookmark|spreadsheet|backup|photo|voicemail|signature|task|project|note|form|report""".replace("\n", " ").replace(" |", "|").split("|")
OBJECT_MOD = ["", "", "", "", "", "old ", "duplicate ", "archived ", "shared ", "expired ", "test ", "uploaded ", "monthly ", "personal ", "printed ", "unpaid "]
DEVICE = """router|water filter|door lock|speaker|robot vacuum|projector|printer|washing machine|dishwasher|air conditioner|rice
cooker|wristband|camera|wall charger|humidifier|water heater|fridge|oven|electric toothbrush|coffee machine|monitor|keyboard
|headset|scooter|air purifier|kitchen scale|e-reader|dash cam|thermostat|set-top box|baby monitor|blender|toaster|lawn mower""".replace("\n", " ").replace(" |", "|").split("|")
LISTS = {
    "plan": [f"the {name} plan" for name in "Free Basic Standard Pro Enterprise Premium Family Education Plus Solo Trial Growth Community Gold Light Ultimate Agency Nonprofit".split()],
    "platform": ["on Android", "on an iPhone", "on Windows", "on a Mac", "on Linux", "on a tablet", "in the browser", "in the desktop app", "on my phone", "in the web version", "on the TV", "in Safari", "in Chrome", "on a Chromebook", "in the mobile app", "on iOS", "on a smartwatch", "on my laptop", "in Firefox", "in the car"],
    "role": "admins|guests|members|accountants|shop managers|resellers|contractors|auditors|interns|support agents|teachers|parents|project managers|cashiers|suppliers|owners|developers|moderators|drivers|new users|students|editors|viewers|approvers|freelancers|night staff".split("|"),
    "region": "Germany|France|Canada|Japan|Brazil|Spain|the UK|Australia|Singapore|Norway|Mexico|Italy|Texas|California|Berlin|Toronto|Madrid|Dublin|Chicago|Osaka|the north region|the south region|the west region|Scotland|Poland|India|the EU|Oslo|Lyon|Seattle".split("|"),
    "format": "CSV PDF Excel Word JSON XML PNG SVG MP4 Markdown TXT HTML MP3 EPUB ZIP WebP YAML GIF WAV TIFF RTF DOCX Parquet ICS".split(),
    "integration": "Slack Jira GitHub Notion Zapier Teams Outlook Gmail Salesforce PayPal Stripe Dropbox Discord Telegram Trello Asana Zoom GitLab Shopify QuickBooks Xero HubSpot Figma OneDrive Okta Alexa Spotify WhatsApp".split(),
    "metric": "refund rate|conversion rate|order count|average basket|gross margin|active users|repeat purchase rate|complaint count|delivery rate|revenue|page views|rating|stockout rate|retention|downloads|sign-ups|inventory turnover|attendance|energy use|ticket volume|time online|click rate|renewal rate|net profit|failure count|delivery time|churn|open rate|waiting time|footfall".split("|"),
    "period": "this month|last month|this year|last year|in the first quarter|in the second quarter|in the third quarter|in the first half|last week|this week|yesterday|today|on Black Friday|over Easter|in May 2023|in 2022|in March 2025|last December|in the last 7 days|in the last 30 days|at the weekend|in Q4 2021|in March|in August|over Christmas|in spring".split("|"),
    "page": "the settings page|the account page|the console|the admin panel|the billing page|the help center|the security tab|the notification bar|the sidebar|the home page|the order details|the advanced settings|the privacy settings|the developer options|the trash|the team page|the toolbox|the inbox|the storage page|the profile menu".split("|"),
    "button": "Save OK More Share New Edit Apply Next Export Sync Allow Submit Add Enable Details Reset".split(),
    "unit": "records items times files pages people devices GB MB requests rows messages seats".split(),
    "gap": "minutes hours days weeks".split(),
    "title": "Getting Started|The Data Safety Guide|Terms of Use|Letters of Summer|Over the Hills|Money in Ten Steps|The Staff Handbook|Night Lights|The Annual Report|Baby Food Basics|Coding for Kids|Stardust Inn|The Harbor Postman|Returns and Exchanges".split("|"),
    "device": [f"my {name}" for name in DEVICE],
    "host": ["example.com", "help.example.org", "docs.example.net", "portal.example.com"],
}


def product(s):
    if s.chance(0.2):
        return f"the {s.pick(STEM)} {s.pick(['', '', '', 'Pro ', 'X' + s.number(1, 9) + ' ', s.number(10, 900) + ' '])}{s.pick(DEVICE)}"
    return latin_name(s)


def feature(s):
    return f"the {s.pick(MODIFIER)} {s.pick(FEATURE)}" + s.pick(["", "", "", " feature"])


def thing(s):
    noun = s.pick(OBJECT_MOD) + s.pick(OBJECT)
    return s.pick(["my", "my", "our", "the", "the", "an" if noun[0] in "aeiou" else "a"]) + " " + noun


def mode(s):
    name = s.pick(MODIFIER + "standard fast classic strict relaxed plain full custom hybrid parallel public internal soft heavy-duty express".split())
    return f"{name} {s.pick('mode view layout routing delivery pairing access storage scan pricing sign-in matching transfer checkout'.split())}"


MAKERS = {"product": product, "feature": feature, "thing": thing, "mode": mode, "code": error_code, "version": version}
