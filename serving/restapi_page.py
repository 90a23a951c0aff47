"""The page of an output stream: its OpenAPI document as forms that can be sent. No file but itself is loaded."""

from __future__ import annotations

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Predictions</title>
<style>
  :root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
  body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
  details { border: 1px solid #8886; border-radius: 6px; margin: .6rem 0; }
  summary { padding: .5rem .8rem; cursor: pointer; }
  summary b { display: inline-block; min-width: 4rem; }
  .GET b { color: #1769aa; } .POST b { color: #1b7f4b; }
  section { padding: 0 .8rem .8rem; }
  textarea { width: 100%; min-height: 9rem; box-sizing: border-box; }
  textarea, pre, input { font: 13px/1.45 ui-monospace, monospace; }
  pre { background: #8882; padding: .6rem; overflow: auto; max-height: 24rem; border-radius: 4px; }
  button { padding: .3rem 1rem; }
</style>
<h1 id="title"></h1>
<p id="text"></p>
<p><label>API key <input id="key" type="password" size="40" autocomplete="off"></label>
  <a href="openapi.json">openapi.json</a></p>
<main id="operations"></main>
<script>
const make = (name, props = {}, ...inside) => {
  const element = Object.assign(document.createElement(name), props);
  element.append(...inside);
  return element;
};
function operation(path, method, it, document_) {
  const answer = make("pre", { hidden: true });
  const body = it.requestBody && make("textarea", { spellcheck: false, ariaLabel: "body" });
  if (body) {
    const ref = it.requestBody.content["application/json"].schema.$ref;
    const schema = document_.components.schemas[ref.split("/").pop()];
    body.value = JSON.stringify((schema.examples || [{}])[0], null, 2);
  }
  const send = make("button", { textContent: "Execute" });
  send.onclick = async () => {
    answer.hidden = false;
    answer.textContent = "…";
    const key = document.getElementById("key").value;
    const headers = { ...(body && { "Content-Type": "application/json" }), ...(key && { "X-API-Key": key }) };
    try {
      const reply = await fetch(path.slice(1), { method, headers, body: body && body.value });
      const text = await reply.text();
      let shown = text;
      try { shown = JSON.stringify(JSON.parse(text), null, 2); } catch {}
      answer.textContent = `HTTP ${reply.status}\\n${shown}`;
    } catch (error) { answer.textContent = String(error); }
  };
  const inside = make("section", {}, make("p", { textContent: it.description || "" }));
  if (body) {
    const fields = Object.entries(document_.components.schemas.Question.properties);
    inside.append(make("ul", {}, ...fields.map(([name, field]) =>
      make("li", {}, make("code", { textContent: name }), ` ${field.description || ""}`))), body);
  }
  inside.append(make("p", {}, send), answer);
  const head = make("summary", {}, make("b", { textContent: method }), path, ` – ${it.summary}`);
  return make("details", { open: true, className: method }, head, inside);
}
fetch("openapi.json").then((reply) => reply.json()).then((found) => {
  document.title = document.getElementById("title").textContent = found.info.title;
  document.getElementById("text").textContent = found.info.description;
  for (const [path, methods] of Object.entries(found.paths))
    for (const [method, it] of Object.entries(methods))
      document.getElementById("operations").append(operation(path, method.toUpperCase(), it, found));
});
</script>
</html>
"""
