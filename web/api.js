// The HTTP API of this server. Every answer is JSON; a fault is an ApiError.

export class ApiError extends Error {
  // status: 0 when the server was not reached. body: its answer, where it gave one.
  constructor(status, message, body = {}) {
    super(message);
    this.status = status;
    this.body = body;
  }
}

async function call(method, path, body, {signal, headers = {}} = {}) {
  let response, answer;
  try {
    response = await fetch(path, {
      method, signal,
      headers: body === undefined ? headers : {"Content-Type": "application/json", ...headers},
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    answer = await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "The server does not answer.");
  }
  if (!response.ok) throw new ApiError(response.status, message(answer, response), answer);
  return answer;
}

// {"detail": "…"} or, of fields, {"detail": [{"loc": ["body", "steps"], "msg": "…"}]}.
function message(answer, response) {
  if (typeof answer.detail === "string") return answer.detail;
  if (Array.isArray(answer.detail)) {
    return answer.detail.map(({loc, msg}) => `${loc.slice(1).join(".")}: ${msg}`).join("\n");
  }
  return `${response.status} ${response.statusText}`;
}

export const get = (path, options) => call("GET", path, undefined, options);
export const post = (path, body = {}, options) => call("POST", path, body, options);
export const put = (path, body, options) => call("PUT", path, body, options);
export const patch = (path, body, options) => call("PATCH", path, body, options);
export const del = (path, options) => call("DELETE", path, undefined, options);
