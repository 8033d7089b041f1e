// The page of /docs: it reads /openapi.json and nothing from elsewhere.
#pragma once

#include <string_view>

namespace ingot::server {

inline constexpr std::string_view kDocsPage = R"html(<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Ingot API</title>
<link rel="icon" href="/web/icon.svg">
<link rel="stylesheet" href="/docs/page.css">
</head>
<body>
<h1>Ingot API</h1>
<p>Made from <a href="/openapi.json">/openapi.json</a>, which is made from the table that validates.</p>
<main id="routes">Reading /openapi.json</main>
<script src="/docs/page.js"></script>
</body>
</html>
)html";

inline constexpr std::string_view kDocsStyle = R"css(
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
       color-scheme: light dark; }
details { border: 1px solid #8884; border-radius: 6px; margin: .4rem 0; padding: .3rem .7rem; }
summary { cursor: pointer; }
summary b { display: inline-block; width: 4.5rem; }
code, pre, textarea { font: 13px/1.4 ui-monospace, monospace; }
pre { overflow: auto; max-height: 24rem; background: #8882; padding: .5rem; }
textarea, input { width: 100%; box-sizing: border-box; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .15rem .6rem .15rem 0; }
)css";

inline constexpr std::string_view kDocsScript = R"js("use strict";
const make = (tag, text, ...children) => {
  const node = document.createElement(tag);
  if (text) node.textContent = text;
  node.append(...children);
  return node;
};
const typeOf = schema => [schema.type || "any"].flat().filter(t => t !== "null").join(", ");
const rangeOf = schema => {
  if (schema.enum) return schema.enum.filter(v => v !== null).join(", ");
  const bounds = [];
  if (schema.minimum !== undefined) bounds.push("from " + schema.minimum);
  if (schema.maximum !== undefined) bounds.push("to " + schema.maximum);
  return bounds.join(" ");
};
const row = (name, schema, description, required) => make("tr", "",
  make("td", "", make("code", name + (required ? " *" : ""))), make("td", typeOf(schema)),
  make("td", schema.default === undefined ? "" : JSON.stringify(schema.default)),
  make("td", rangeOf(schema)), make("td", description || ""));
const table = rows => make("table", "", make("tr", "", ...["field", "type", "default", "values", ""]
  .map(name => make("th", name))), ...rows);

function operation(api, path, method, about) {
  const box = make("details", "", make("summary", "", make("b", method.toUpperCase()),
    make("code", path), " " + (about.summary || "")));
  const inputs = {};
  const parameters = about.parameters || [];
  if (parameters.length > 0) {
    box.append(make("h4", "Parameters"),
      table(parameters.map(p => row(p.name, p.schema, p.description, p.required))));
  }
  for (const p of parameters) {
    inputs[p.name] = make("input");
    inputs[p.name].placeholder = p.name;
    box.append(inputs[p.name]);
  }
  let body = null;
  if (about.requestBody) {
    const name = about.requestBody.content["application/json"].schema.$ref.split("/").pop();
    const schema = api.components.schemas[name];
    box.append(make("h4", "Body: " + name), table(Object.entries(schema.properties).map(([key, s]) =>
      row(key, s, s.description, (schema.required || []).includes(key)))));
    body = make("textarea");
    body.rows = 4;
    body.value = "{}";
    box.append(body);
  }
  const send = make("button", "Send"), answer = make("pre");
  answer.hidden = true;
  send.onclick = async () => {
    let url = path;
    const query = new URLSearchParams();
    for (const p of parameters) {
      const value = inputs[p.name].value;
      if (p.in === "path") url = url.replace("{" + p.name + "}", encodeURIComponent(value));
      else if (value !== "") query.set(p.name, value);
    }
    if (String(query) !== "") url += "?" + query;
    answer.hidden = false;
    answer.textContent = "…";
    try {
      const response = await fetch(url, {method: method.toUpperCase(), body: body ? body.value : null,
        headers: body ? {"Content-Type": "application/json"} : {}});
      const text = await response.text();
      answer.textContent = response.status + " " + response.statusText + "\n" + text.slice(0, 20000);
    } catch (error) {
      answer.textContent = String(error);
    }
  };
  box.append(send, answer);
  return box;
}

(async () => {
  const main = document.getElementById("routes");
  const api = await (await fetch("/openapi.json")).json();
  const groups = new Map();
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, about] of Object.entries(methods)) {
      const tag = (about.tags || ["other"])[0];
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push(operation(api, path, method, about));
    }
  }
  main.textContent = "";
  for (const [tag, operations] of groups) main.append(make("h2", tag), ...operations);
})();
)js";

}  // namespace ingot::server
