"""Pages for people whom a mail brings here: choose a password, read and answer one's own ticket.

They stand by themselves: nothing is loaded from elsewhere, no script but their own runs, and what
people wrote is put in as text, never as markup. `/docs` is Swagger UI, served from here as well.
"""

import base64
import hashlib
from functools import cache
from importlib.resources import files

from fastapi import APIRouter, Response
from fastapi.responses import HTMLResponse

router = APIRouter(include_in_schema=False)

_ASSETS = {"swagger-ui.js": "swagger-ui-bundle.js", "swagger-ui.css": "swagger-ui.css"}

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #566173; --paper: #ffffff;
  --wall: #f3f5f8; --line: #c9d0da; --deed: #0b5cad; --on-deed: #ffffff; --bad: #a31621;
  --ours: #e8f0fa; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8ecf2; --soft: #a5b0c0; --paper: #1b222c; --wall: #12171e; --line: #47536380;
    --deed: #8abcf5; --on-deed: #0d1a29; --bad: #ff9d9d; --ours: #22344a; } }
* { box-sizing: border-box; }
body { margin: 0; padding: 1.5rem 1rem 4rem; background: var(--wall); color: var(--ink);
  font: 1.0625rem/1.55 system-ui, sans-serif; }
main { max-width: 42rem; margin: 0 auto; padding: 1.5rem; background: var(--paper);
  border: 1px solid var(--line); border-radius: .75rem; }
main.narrow { max-width: 28rem; margin-top: 6vh; }
h1 { margin: 0 0 .5rem; font-size: 1.5rem; line-height: 1.25; overflow-wrap: anywhere; }
h2 { margin: 2rem 0 .5rem; font-size: 1.15rem; }
p { margin: .5rem 0; }
.soft { color: var(--soft); }
label { display: block; margin-top: 1rem; font-weight: 600; }
label.beside { display: flex; gap: .5rem; align-items: center; font-weight: 400; }
input[type=password], input[type=text], textarea { width: 100%; margin-top: .25rem;
  padding: .6rem .7rem; font: inherit; color: inherit; background: var(--paper);
  border: 1px solid var(--soft); border-radius: .4rem; }
textarea { min-height: 9rem; resize: vertical; }
[aria-invalid=true] { border-color: var(--bad); }
button { margin-top: 1rem; padding: .65rem 1.2rem; font: inherit; font-weight: 600;
  color: var(--on-deed); background: var(--deed); border: 0; border-radius: .4rem;
  cursor: pointer; }
button:disabled { opacity: .6; cursor: default; }
a { color: var(--deed); }
:focus-visible { outline: 3px solid var(--deed); outline-offset: 2px; }
[role=alert]:not(:empty) { margin-top: 1rem; padding: .6rem .8rem; color: var(--bad);
  border: 1px solid; border-radius: .4rem; }
[role=status]:not(:empty) { margin-top: 1rem; }
ol { margin: 1rem 0 0; padding: 0; list-style: none; }
li.message { margin: .75rem 0; padding: .75rem 1rem; border: 1px solid var(--line);
  border-radius: .6rem; }
li.message.desk { background: var(--ours); }
.head { display: flex; flex-wrap: wrap; gap: 0 1rem; justify-content: space-between; }
.words { margin-top: .35rem; white-space: pre-wrap; overflow-wrap: anywhere; }
ul.files { margin: .5rem 0 0; padding-left: 1.2rem; }
[hidden] { display: none; }
"""

# What both pages' scripts begin with.
_COMMON = """
"use strict";
const $ = (id) => document.getElementById(id);
const alertBox = $("alert"), statusBox = $("status");
function say(text) { alertBox.textContent = ""; statusBox.textContent = text; }
function complain(text) { statusBox.textContent = ""; alertBox.textContent = text; }
async function ask(path, body, headers) {
  let answer;
  try {
    answer = await fetch(path, body === undefined
      ? { headers: { Accept: "application/json" } }
      : { method: "POST", body: JSON.stringify(body),
          headers: { "Content-Type": "application/json", ...headers } });
  } catch {
    return { problem: { detail: "The desk cannot be reached. Check your connection, then try"
      + " again.", errors: [] } };
  }
  let said = null;
  try { said = await answer.json(); } catch { /* an empty answer */ }
  if (answer.ok) return { said };
  const told = said && said.detail ? said.detail : "Something went wrong. Please try again.";
  return { problem: { status: answer.status, code: said && said.code, detail: told,
    errors: (said && said.errors) || [] } };
}
"""

_PASSWORD = """
<main class="narrow">
<h1>Choose your password</h1>
<p class="soft" id="rule">At least 10 characters. A few words that only you would put together
are better than one word with signs in it.</p>
<noscript><p>This page needs JavaScript to set your password.</p></noscript>
<form id="form" method="post" novalidate>
<label for="password">New password</label>
<input id="password" name="password" type="password" autocomplete="new-password" required
 maxlength="200" aria-describedby="rule alert">
<label class="beside"><input id="show" type="checkbox"> Show what I type</label>
<button id="send" type="submit">Set password</button>
</form>
<div id="alert" role="alert"></div>
<div id="status" role="status" tabindex="-1"></div>
</main>
"""

_PASSWORD_SCRIPT = """
const form = $("form"), field = $("password"), send = $("send");
const token = location.hash.slice(1);
$("show").addEventListener("change", (event) => {
  field.type = event.target.checked ? "text" : "password";
});
if (!token) {
  form.hidden = true;
  complain("This link is not whole. Open it from the mail again, or copy all of it.");
} else {
  field.focus();
}
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (send.disabled) return;
  if (!field.value) {
    field.setAttribute("aria-invalid", "true");
    complain("Type a password first.");
    field.focus();
    return;
  }
  send.disabled = true;
  say("Setting your password…");
  const { problem } = await ask("api/v1/auth/password-link",
    { link: token, password: field.value });
  send.disabled = false;
  if (problem) {
    const mine = problem.errors.some((one) => one.pointer === "/password");
    field.setAttribute("aria-invalid", String(mine));
    complain(problem.detail);
    if (mine) field.focus();
    return;
  }
  field.value = "";
  form.hidden = $("rule").hidden = true;
  history.replaceState(null, "", location.pathname);
  say("Your password is set. You can sign in with it now; wherever you were signed in before, you"
    + " are signed out.");
  statusBox.focus();
});
"""

_TICKET = """
<main>
<noscript><p>This page needs JavaScript to show your request.</p></noscript>
<h1 id="subject" tabindex="-1">Your request</h1>
<p class="soft" id="state"></p>
<section id="conversation" aria-labelledby="said" hidden>
<h2 id="said">What was said</h2>
<ol id="messages"></ol>
<form id="form" method="post" novalidate>
<h2><label for="text" id="answering">Your answer</label></h2>
<p class="soft" id="hint" hidden></p>
<textarea id="text" name="text" required maxlength="100000"
 aria-describedby="hint alert"></textarea>
<button id="send" type="submit">Send</button>
</form>
</section>
<div id="alert" role="alert"></div>
<div id="status" role="status">Fetching your request…</div>
<p id="next" hidden><a id="follow">Open the new request</a></p>
</main>
"""

_TICKET_SCRIPT = """
const form = $("form"), text = $("text"), send = $("send");
const link = location.pathname.split("/").filter(Boolean).pop();
const there = "../../public/v1/tickets/" + encodeURIComponent(link);
let key = null;
function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)),
    (byte) => byte.toString(16).padStart(2, "0")).join("");
}
function element(name, className, words) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (words !== undefined) made.textContent = words;
  return made;
}
function moment(value) {
  const made = element("time", "soft", new Date(value).toLocaleString([],
    { dateStyle: "medium", timeStyle: "short" }));
  made.dateTime = value;
  return made;
}
function shown(message) {
  const item = element("li", message.from_you ? "message" : "message desk");
  const head = element("div", "head");
  head.append(element("strong", "", message.from_you ? "You" : message.author_name || "The desk"),
    moment(message.created_at));
  item.append(head, element("div", "words", message.text));
  if (message.attachments.length) {
    const list = element("ul", "files");
    for (const file of message.attachments) {
      const anchor = element("a", "", file.filename);
      anchor.href = there + "/attachments/" + encodeURIComponent(file.id);
      anchor.download = file.filename;
      const entry = element("li");
      entry.append(anchor);
      list.append(entry);
    }
    item.append(list);
  }
  return item;
}
async function load() {
  const { said, problem } = await ask(there);
  if (problem) { complain(problem.detail); return false; }
  document.title = said.subject;
  $("subject").textContent = said.subject;
  $("state").textContent = "Request " + said.number + " · " + said.status;
  $("messages").replaceChildren(...said.messages.map(shown));
  $("hint").hidden = !said.over;
  $("hint").textContent = said.over
    ? "This request is closed. Your answer opens a new one that refers to it." : "";
  $("conversation").hidden = false;
  say("");
  return said;
}
text.addEventListener("input", () => { key = null; });
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (send.disabled) return;
  if (!text.value.trim()) {
    text.setAttribute("aria-invalid", "true");
    complain("Write your answer first.");
    text.focus();
    return;
  }
  text.removeAttribute("aria-invalid");
  // The same words sent again after a broken connection are the same answer.
  key = key || newKey();
  send.disabled = true;
  say("Sending…");
  const { said, problem } = await ask(there + "/replies", { text: text.value },
    { "Idempotency-Key": key });
  send.disabled = false;
  if (problem) { complain(problem.detail); return; }
  key = null;
  text.value = "";
  const before = $("state").textContent;
  const now = await load();
  if (now && said.number !== now.number) {
    $("follow").href = encodeURIComponent(said.link);
    $("next").hidden = false;
    say("Your answer has opened request " + said.number + ".");
    $("follow").focus();
  } else if (now) {
    say("Your answer is with the desk.");
  }
});
load();
"""

_DOCS = """
<div id="docs"></div>
<noscript><p>This page needs JavaScript. The document itself is at <a href="openapi.json">
openapi.json</a>.</p></noscript>
<script src="docs/swagger-ui.js"></script>
"""

_DOCS_SCRIPT = """
SwaggerUIBundle({ url: "openapi.json", dom_id: "#docs", deepLinking: true, filter: true,
  persistAuthorization: false, validatorUrl: null });
"""


def _hash(source: str) -> str:
    digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
    return f"'sha256-{digest}'"


class _Page:
    """A page and the policy that lets just its own style and script run."""

    def __init__(self, title: str, body: str, script: str) -> None:
        self.html = (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            '<meta name="robots" content="noindex">\n<link rel="icon" href="data:,">\n'
            f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>{body}"
            f"<script>{script}</script>\n</body>\n</html>\n"
        )
        self.policy = (
            f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(_STYLE)};"
            " img-src data:; connect-src 'self'; form-action 'none'; base-uri 'none';"
            " frame-ancestors 'none'"
        )

    def response(self) -> HTMLResponse:
        return HTMLResponse(self.html, headers={"Content-Security-Policy": self.policy})


_SET_PASSWORD = _Page("Choose your password", _PASSWORD, _COMMON + _PASSWORD_SCRIPT)
_OWN_TICKET = _Page("Your request", _TICKET, _COMMON + _TICKET_SCRIPT)

_DOCS_HTML = (
    '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    '<link rel="icon" href="data:,">\n<title>Holdfast: the API</title>\n'
    '<link rel="stylesheet" href="docs/swagger-ui.css">\n</head>\n'
    f"<body>{_DOCS}<script>{_DOCS_SCRIPT}</script>\n</body>\n</html>\n"
)
# Swagger UI sets styles on elements as it goes, and its stylesheet carries its pictures.
_DOCS_POLICY = (
    f"default-src 'none'; script-src 'self' {_hash(_DOCS_SCRIPT)};"
    " style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self';"
    " form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)


@router.get("/set-password")
async def set_password() -> Response:
    """Where a link to set a password leads; what follows its # never reaches the server."""
    return _SET_PASSWORD.response()


@router.get("/portal/tickets/{link}")
async def own_ticket(link: str) -> Response:
    """Where a customer's link leads. The page is the same for all: it asks the API by the link."""
    del link
    return _OWN_TICKET.response()


@router.get("/docs")
async def docs() -> Response:
    return HTMLResponse(_DOCS_HTML, headers={"Content-Security-Policy": _DOCS_POLICY})


@router.get("/docs/swagger-ui.js")
async def swagger_script() -> Response:
    return _asset("swagger-ui.js", "text/javascript")


@router.get("/docs/swagger-ui.css")
async def swagger_style() -> Response:
    return _asset("swagger-ui.css", "text/css")


def _asset(name: str, media_type: str) -> Response:
    return Response(
        _read(name), media_type=media_type, headers={"Cache-Control": "public, max-age=86400"}
    )


@cache
def _read(name: str) -> bytes:
    return files("fastapi_swagger").joinpath("resources", _ASSETS[name]).read_bytes()
