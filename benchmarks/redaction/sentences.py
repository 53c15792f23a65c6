"""Sentences in several languages and formats with a place for a value, and texts that look like values but are none."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from random import Random
from uuid import UUID

from benchmarks.redaction import values
from benchmarks.redaction.values import BASE62, DIGITS, HEX, of

#: By kind; `{}` is the value. Those of a password and a token name it: without a name, nobody could tell.
SENTENCES: Mapping[str, tuple[str, ...]] = {
    "email": (
        "Please write to {} by Friday.", "My address is {}, thanks!", "Contact: {}", "From: Ada <{}>\nSubject: Hi",
        "Meine Adresse lautet {}.", "Bitte antworten Sie an {} oder rufen Sie an.", "Écrivez-moi à {} svp",
        "Mi correo es {}.", "scrivimi a {}, grazie", "meu e-mail: {}", "mijn mailadres is {}", "Мой адрес: {}.",
        "请发邮件到{}谢谢", "メールは{}です。", '{{"user": "{}", "active": true}}', "[write](mailto:{})", "id;name;{};42",
        "cc {};", "({})", "git config user.email '{}'",
    ),
    "phone, international": (
        "Call me at {}.", "My number is {}, after six.", "{}", "Tel.: {}", "Meine Nummer: {}", "Rufen Sie mich unter {} an!",
        "Appelez le {} demain.", "Mi teléfono es {}", "mio numero {}", "Meu WhatsApp é {}.", "bel me op {}", "Звоните {}.",
        "请打{}联系我", "電話は{}です", '{{"phone": "{}"}}', "Ada Lovelace, {}, London", "<a href=\"tel:{}\">",
        "The parcel goes to Ms Okafor ({}).", "Order 4711 for {} is late", "sip {} failed twice",
    ),
    "phone, national": (
        "Call me at {}.", "My number is {}, after six.", "{}", "Tel.: {}", "Meine Nummer: {}", "Rufen Sie mich unter {} an!",
        "Appelez le {} demain.", "Mi teléfono es {}", "il mio numero è {}", "Meu WhatsApp é {}.", "bel me op {}", "Звоните {}.",
        "Ada Lovelace, {}, London", "You reach the shop on {} from nine to five.", "Erreichbar: {} (abends)",
    ),
    "phone, plain with its name": (
        "Call me at {}.", "My phone number is {}.", "Tel. {}", "Telefon: {}", "Mein Handy: {}", "téléphone : {}",
        "Mi teléfono es {}", "cellulare {}", "Meu celular: {}", "mobile {}", "телефон {}", "电话:{}", "WhatsApp me on {} pls",
    ),
    "card": (
        "My card number is {}.", "card: {} exp 04/29 cvc 123", "Please charge {} instead.", "Kreditkarte {}", "Carte bleue n° {}",
        "Mi tarjeta es {}, gracias", "carta {} scadenza 05/28", "cartão {}", "Карта {}", "信用卡号{}。", '{{"pan": "{}"}}', "{}",
        "visa;{};2028", "It said {} was declined",
    ),
    "iban": (
        "Please transfer it to {}.", "IBAN: {}", "IBAN {}, BIC COBADEFFXXX", "Meine Kontonummer ist {} bei der Sparkasse.",
        "Mon IBAN est {}.", "mi cuenta {} gracias", "bonifico su {}", "Conta {} do banco", "rekening {}", "Счёт {}.",
        "{}", '{{"iban":"{}"}}', "ref 12 account {} and amount 30",
    ),
    "api_key": (
        "I use {} and get 401.", "export KEY={}", "client = Client('{}')", "curl -H 'x-key: {}' https://api.acme.io", "{}",
        "Mein Schlüssel {} geht nicht.", "ma clé {} ne marche pas", "Why does {} fail?", '{{"k": "{}"}}', "我的密钥是{},请检查",
    ),
    "private_key": ("{}", "Here is my key:\n{}\nWhat is wrong?", "key: |\n{}\n", "```\n{}\n```", '"private_key": "{}"'),
    "jwt": (
        "Authorization: Bearer {}", "jwt = '{}'", "Decode {} please", "Der Token {} ist abgelaufen", "?id_token={}&state=1",
        "{}", "Cookie: session={};",
    ),
    "token": (
        "Authorization: Bearer {}", "api_key = '{}'", "API_KEY={}", "client_secret: {}", "access_token={}&expires_in=3600",
        '{{"auth_token": "{}"}}', "secret_key = \"{}\"", "my api key is {}", "export SERVICE_TOKEN={}", "x-api-key: {}",
        "apiKey: '{}',",
    ),
    "password": (
        "password = '{}'", "password: {}", "PASSWORD={}", "My password is {} and it fails.", '{{"password": "{}"}}',
        "Mein Passwort ist {}.", "mot de passe : {}", "contraseña: {}", "user=ada pwd={}", "passwd={}", "Пароль: {}", "密码:{}",
        "DB_PASSWORD={}", "senha: {}",
    ),
    "url_credentials": (
        "postgresql://{}@db.acme.io:5432/app", "curl https://{}@api.acme.io/v1", "git clone https://{}@git.acme.io/a/b.git",
        "redis://{}@10.0.0.5:6379/0", "Use mongodb+srv://{}@cluster0.acme.net/test please", "amqp://{}@localhost//",
    ),
    "ip_address": (
        "Blocked {} after ten logins.", "ip: {}", "{} - - [01/Feb/2026] \"GET /\"", "Meine IP ist {}.", "ssh root@{}",
        "von {} nach Berlin", "ping {}", "X-Forwarded-For: {}, 10.0.0.1", '{{"remote_addr": "{}"}}', "http://{}/admin"[:9],
    ),
}  # fmt: skip
MAKERS: Mapping[str, Callable[[Random], str]] = {
    "email": values.email, "phone, international": values.phone("abroad"), "phone, national": values.phone("national"),
    "phone, plain with its name": values.phone("plain"), "card": values.card, "iban": values.iban, "api_key": values.api_key,
    "private_key": values.private_key, "jwt": values.jwt, "token": values.token, "password": values.password,
    "url_credentials": values.credentials, "ip_address": values.ip_address,
}  # fmt: skip


def _when(random: Random) -> datetime:
    return datetime(2015, 1, 1) + timedelta(seconds=random.randrange(12 * 365 * 86400))  # noqa: DTZ001


def _number(random: Random) -> str:
    return of(DIGITS[1:], 1, random) + of(DIGITS, random.randrange(6, 18), random)


def _changed(text: str, random: Random) -> str:
    """Returns the text with another digit in place of one, so that a checksum is wrong."""
    places = [place for place, character in enumerate(text) if character.isdigit() and place > 3]
    place = random.choice(places)
    return text[:place] + str((int(text[place]) + random.randrange(1, 9)) % 10) + text[place + 1 :]


def _isbn(random: Random) -> str:
    body = "978" + of(DIGITS, 9, random)
    check = -sum(int(digit) * (1, 3)[place % 2] for place, digit in enumerate(body)) % 10
    return random.choice([f"{body[:3]}-{body[3]}-{body[4:8]}-{body[8:]}-{check}", f"{body}{check}"])


def _with_wrong_crc(random: Random) -> str:
    token = values.with_crc32(random.choice(["ghp_", "npm_"]), random)
    return token[:8] + ("a" if token[8] != "a" else "b") + token[9:]


def _code(random: Random) -> str:
    return random.choice(
        [
            "password = os.environ['DB_PASSWORD']", "password=self.password", "def login(user, password: str = None):",
            "token = tokenizer.encode(text)", "token: str | None = None", "secret = getpass.getpass()", "if password == other.password:",
            "password = input('Password: ')", "max_tokens=4096, temperature=0.7", "api_key=settings.openai_api_key",
            "const token = await getToken(user.id)", "@app.route('/users')\n@login_required", "@dataclass(frozen=True)",
            "y = X @ w + b", "C = A@B.transpose(1, 0)", "npm install react@18.2.0 lodash@4.17.21", "import '@scope/pkg@1.0.0'",
            "assert a[1:10:2] == b[::2]", "password: ${DB_PASSWORD}", "API_KEY=<your-api-key-here>", "password=********",
            "export OPENAI_API_KEY=sk-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "Authorization: Bearer <token>",
            "Authorization: Bearer YOUR_ACCESS_TOKEN_HERE", "postgresql://user:password@localhost/db", "token_type: bearer",
            "password = forms.CharField(widget=forms.PasswordInput)", "<input type=\"password\" name=\"password\">", "std::vector<int>::size",
            "background: url(img/logo@2x.png)", "git clone git@github.com:acme/app.git", "for i in range(0, 1000000, 128):",
            "The password must have 8 characters and a digit.", "Password: required, at least 12 characters",
            "Your password is incorrect. Try again.", "password is case-sensitive", "secret: a love story", "-----BEGIN PUBLIC KEY-----",
        ]
    )  # fmt: skip


def _science(random: Random) -> str:
    return random.choice(
        [
            rf"\frac{{{random.randrange(10**6)}}}{{{random.randrange(10**6)}}} + \sum_{{i=0}}^{{100}} x_i^{{2}}",
            f"$x = {random.uniform(-1e6, 1e6):.6f}$, p < 0.001, n = {random.randrange(10**7)}", f"{random.random():.16f}",
            f"π ≈ 3.14159265358979323846, e ≈ 2.71828182845904523536, run {random.randrange(100)}",
            f"{random.uniform(-90, 90):.6f}, {random.uniform(-180, 180):.6f}", f"48° 51' {random.uniform(0, 59):.2f}\" N",
            f"DOI 10.{random.randrange(1000, 9999)}/s{random.randrange(10**5)}-021-{random.randrange(10**5):05d}-{random.randrange(10)}",
            f"Nature 521, 436-{random.randrange(440, 460)} (2015)", f"Phys. Rev. Lett. 116, 0{random.randrange(61100, 61200)} (2016)",
            f"1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, {random.randrange(1000)}", "0.1 0.25 0.5 0.75 1.0",
            f"{random.randrange(1, 99)} 000 000 km", f"{random.randrange(100, 999)},{random.randrange(100, 999)},{random.randrange(100, 999)}",
        ]
    )  # fmt: skip


NEGATIVES: Mapping[str, Callable[[Random], str]] = {
    "order number": lambda r: f"{r.choice(['order', 'Bestellung', 'commande', 'invoice no.', 'ticket #', 'SKU', 'ref'])} {_number(r)}",
    "parcel number": lambda r: f"Sendung {of(DIGITS, r.choice([12, 14, 20]), r)} / 1Z{of(BASE62[:36], 16, r)}",
    "ISBN": lambda r: f"ISBN {_isbn(r)}",
    "date and time": lambda r: _when(r).strftime(
        r.choice(["%d.%m.%Y %H:%M:%S", "%Y-%m-%d %H:%M", "%m/%d/%Y", "%d/%m/%Y", "%Y%m%d%H%M%S", "%d-%m-%Y", "%Y-%m-%dT%H:%M:%S.%fZ"])
    ),
    "Unix time": lambda r: r.choice([f"{_when(r).timestamp():.0f}", f"{_when(r).timestamp() * 1000:.0f}", f"{_when(r).timestamp():.6f}"]),
    "version": lambda r: r.choice(
        [f"v{r.randrange(20)}.{r.randrange(40)}.{r.randrange(99)}", f"version {r.randrange(9)}.{r.randrange(20)}.{r.randrange(30)}.{r.randrange(90)}",
         f"Chrome/{r.randrange(90, 140)}.0.{r.randrange(10000)}.{r.randrange(200)}", f"Chrome/{r.randrange(90, 140)}.0.0.0", "Python 3.11.9, 2.4.1.post1",
         f"Section {r.randrange(9)}.{r.randrange(9)}.{r.randrange(9)}.{r.randrange(9)}"]
    ),
    "hash": lambda r: r.choice([of(HEX, n, r) for n in (7, 32, 40, 64)] + [f"sha256:{of(HEX, 64, r)}", f"commit {of(HEX, 40, r)}"]),
    "UUID": lambda r: str(UUID(int=r.getrandbits(128), version=4)),
    "price": lambda r: r.choice(
        [f"${r.randrange(10**6):,}.{r.randrange(100):02d}", f"{r.randrange(10**3)}.{r.randrange(1000):03d},{r.randrange(100):02d} €",
         f"CHF {r.randrange(10**4)}.-", f"EUR {r.randrange(10**9)}", f"{r.randrange(10**4, 10**9)} USD", f"£{r.randrange(10**7)}"]
    ),
    "private address": lambda r: r.choice(["127.0.0.1", "0.0.0.0", f"10.{r.randrange(256)}.0.1", f"192.168.{r.randrange(256)}.{r.randrange(256)}",
                                           f"192.0.2.{r.randrange(256)}", "::1", "fe80::1ff:fe23:4567:890a", "2001:db8::1"]),
    "wrong card": lambda r: _changed(values.card(r), r),
    "wrong IBAN": lambda r: _changed(values.iban(r), r),
    "wrong key": _with_wrong_crc,
    "no JWT": lambda r: f"ey{of(BASE62, 30, r)}.{of(BASE62, 40, r)}.{of(BASE62, 40, r)}",
    "handle": lambda r: r.choice([f"@{r.choice(values.FIRST)}_{r.randrange(100)}", f"@{r.choice(values.FIRST)}@mastodon.social", f"u/{r.choice(values.LAST)}"]),
    "code": _code,
    "science": _science,
    "long number": lambda r: of(DIGITS[1:], 1, r) + of(DIGITS, r.randrange(9, 30), r),
    "digits in groups": lambda r: " ".join(of(DIGITS, r.randrange(1, 5), r) for _ in range(r.randrange(3, 8))),
    "score": lambda r: f"{r.randrange(200)}-{r.randrange(200)}, {r.randrange(10)}:{r.randrange(10)}, {r.randrange(1900, 2027)}-{r.randrange(1900, 2027)}",
}  # fmt: skip
#: Places for what is no value, with words that often stand near one.
AROUND = (
    "{}", "See {}.", "We saw {} twice, then nothing.", "Siehe {} im Anhang", "voir {} ci-dessous", "id={}", "ver {} por favor",
    "- {}\n- done", "Es geht um {} und um die Rechnung.", "The value {} looks odd", "请看{}", "`{}`", '{{"value": "{}"}}',
    "Call the function with {}", "Nummer {} fehlt",
)  # fmt: skip
