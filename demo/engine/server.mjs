#!/usr/bin/env node
// server.mjs - the demo's OpenAI-compatible LLM server; behaves towards a watcher like llama-server or like vLLM.
//
//   node server.mjs --model tiny.gguf --modules build/demo [--port 9801] [--flavour llamacpp|vllm] [--faults]
//                   [--slots 4] [--ctx 1024] [--threads 1] [--max-queue 64] [--pace 0] [--name tiny]
//
// POST /v1/chat/completions, /v1/completions; GET /v1/models, /health, /metrics; llama.cpp: /props, /slots; vLLM:
// /version. With --faults also POST /fault {"kind": "stall_decode"|"slow_decode"|"error"|"refuse"|"none"}. Listens on
// loopback only: a server with a fault switch belongs nowhere else.
import http from "node:http";
import path from "node:path";
import {Engine, EngineFull, FAULTS} from "./engine.mjs";
import {llamacppPage, vllmPage} from "./metrics.mjs";

const HOST = "127.0.0.1", BODY_MAX_BYTES = 4 << 20, DRAIN_MS = 3000, VLLM_VERSION = "0.30.0";
const KNOWN = ["model", "modules", "port", "flavour", "slots", "ctx", "threads", "max-queue", "pace", "name"];

function options(argv) {
  const got = {faults: false};
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i].replace(/^--/, "");
    if (word === "faults") got.faults = true;
    else if (argv[i].startsWith("--") && KNOWN.includes(word) && i + 1 < argv.length) got[word] = argv[++i];
    else usage(`unknown argument "${argv[i]}"`);
  }
  if (!got.model) usage("--model FILE.gguf is missing");
  got.flavour ??= "llamacpp";
  if (!["llamacpp", "vllm"].includes(got.flavour)) usage(`unknown flavour "${got.flavour}"`);
  return got;
}

function usage(problem) {
  console.error(`server.mjs: ${problem}\nHint: The options are ${KNOWN.map((k) => "--" + k).join(" ")} --faults.`);
  process.exit(2);
}

class ApiError extends Error {
  constructor(status, message, {type = "invalid_request_error", param = null, code = null, headers = {}} = {}) {
    super(message);
    Object.assign(this, {status, type, param, code, headers});
  }
}

const args = options(process.argv.slice(2));
const vllm = args.flavour === "vllm";
const engine = await Engine.load({
  model: args.model, modules: args.modules ?? ".", name: args.name ?? path.basename(args.model, ".gguf"),
  slots: +(args.slots ?? 4), contextTokens: +(args.ctx ?? 1024), threads: +(args.threads ?? 1),
  maxQueue: +(args["max-queue"] ?? 64), paceMs: +(args.pace ?? 0),
});
const started = Math.floor(Date.now() / 1000);
let draining = false, nextId = 1;

function send(res, status, body, headers = {}) {
  if (res.writableEnded || res.destroyed) return;
  const text = typeof body === "string" ? body : JSON.stringify(body);
  const type = typeof body === "string" ? "text/plain; version=0.0.4; charset=utf-8" : "application/json";
  res.writeHead(status, {"Content-Type": type, "Content-Length": Buffer.byteLength(text), ...headers});
  res.end(text);
}

async function readJson(req) {
  const parts = [];
  let size = 0;
  for await (const part of req) {
    parts.push(part);
    if ((size += part.length) > BODY_MAX_BYTES) throw new ApiError(413, "Request body too large.");
  }
  try {
    const value = JSON.parse(Buffer.concat(parts).toString());
    if (value && typeof value === "object" && !Array.isArray(value)) return value;
  } catch { /* the same answer as for JSON of the wrong kind */ }
  throw new ApiError(400, "We could not parse the JSON body of your request.", {code: "invalid_json"});
}

function textOf(content) {
  if (typeof content === "string") return content;
  if (Array.isArray(content)) return content.filter((p) => p?.type === "text").map((p) => p.text).join("");
  return content == null ? "" : null;
}

// The chat template that is in the model file too.
function chatPrompt(messages) {
  if (!Array.isArray(messages) || !messages.length)
    throw new ApiError(400, "Missing required parameter: 'messages'.", {param: "messages"});
  let prompt = "";
  for (const [i, m] of messages.entries()) {
    const text = m && textOf(m.content);
    if (!m || typeof m.role !== "string" || !m.role || text === null)
      throw new ApiError(400, `Invalid message at index ${i}.`, {param: `messages.[${i}]`});
    prompt += `${m.role[0].toUpperCase()}${m.role.slice(1)}: ${text}\n`;
  }
  return prompt + "Assistant:";
}

function number(body, key, preset, low, high) {
  const v = body[key];
  if (v === undefined || v === null) return preset;
  if (typeof v !== "number" || !(v >= low && v <= high))
    throw new ApiError(400, `Invalid '${key}': expected a number between ${low} and ${high}.`, {param: key});
  return v;
}

function sampling(body, room) {
  const max = number(body, "max_completion_tokens", undefined, 1, 1e9) ?? number(body, "max_tokens", 256, 1, 1e9);
  const stop = typeof body.stop === "string" ? [body.stop] : Array.isArray(body.stop) ? body.stop : [];
  return {
    max: Math.min(max, room), temperature: number(body, "temperature", 0.8, 0, 2),
    topP: number(body, "top_p", 0.95, 0, 1), seed: number(body, "seed", undefined, 0, 2 ** 32),
    stops: stop.filter((s) => typeof s === "string" && s), ignoreEos: body.ignore_eos === true,
  };
}

// What may be sent of the text so far: a possible start of a stop string is held back until it is one or is not.
function sendable(text, stops, ended) {
  if (ended) return text.length;
  for (const stop of stops)
    for (let k = Math.min(stop.length - 1, text.length); k > 0; k--)
      if (stop.startsWith(text.slice(text.length - k))) return text.length - k;
  return text.length;
}

// One writer per answer form, so that complete() below reads as one story for all four of them.
function writer(res, body, chat) {
  const stream = body.stream === true;
  const head = {
    id: (chat ? "chatcmpl-" : "cmpl-") + (nextId++).toString(16).padStart(12, "0"),
    created: Math.floor(Date.now() / 1000), model: engine.name,
    object: chat ? (stream ? "chat.completion.chunk" : "chat.completion") : "text_completion",
  };
  const event = (o) => res.write(`data: ${JSON.stringify(o)}\n\n`);
  const choice = (text, finish) => chat
    ? {index: 0, delta: text === null ? {} : {content: text}, logprobs: null, finish_reason: finish}
    : {index: 0, text: text ?? "", logprobs: null, finish_reason: finish};
  return {
    stream,
    begin() {
      res.writeHead(200, {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache"});
      const role = {index: 0, delta: {role: "assistant", content: ""}, logprobs: null, finish_reason: null};
      if (chat) event({...head, choices: [role]});
    },
    piece(text) { event({...head, choices: [choice(text, null)]}); },
    end(job, usage) {
      if (!stream) {
        const message = {role: "assistant", content: job.text, refusal: null};
        const whole = {index: 0, ...(chat ? {message} : {text: job.text}), logprobs: null, finish_reason: job.reason};
        return send(res, 200, {...head, choices: [whole], usage});
      }
      event({...head, choices: [choice(null, job.reason)]});
      if (body.stream_options?.include_usage === true) event({...head, choices: [], usage});
      res.end("data: [DONE]\n\n");
    },
    broken(problem) {
      event({error: {message: String(problem.message ?? problem), type: "server_error", param: null, code: 500}});
      res.end("data: [DONE]\n\n");
    },
  };
}

function prepare(body, chat) {
  if (typeof body.model !== "string")
    throw new ApiError(400, "Missing required parameter: 'model'.", {param: "model"});
  if (body.model !== engine.name)
    throw new ApiError(404, `The model '${body.model}' does not exist.`, {param: "model", code: "model_not_found"});
  if (!chat && typeof body.prompt !== "string")
    throw new ApiError(400, "Missing required parameter: 'prompt'.", {param: "prompt"});
  const job = engine.newJob(chat ? chatPrompt(body.messages) : body.prompt);
  const room = engine.options.contextTokens - job.tokens.length - 1;
  if (room < 1)
    throw new ApiError(400, `This model's maximum context length is ${engine.options.contextTokens} tokens. However, ` +
                            `your messages resulted in ${job.tokens.length} tokens.`,
                       {code: "context_length_exceeded"});
  return {job, how: sampling(body, room)};
}

async function complete(req, res, chat) {
  const body = await readJson(req);
  const {job, how} = prepare(body, chat);
  if (engine.fault === "error") throw new ApiError(500, "The engine failed.", {type: "server_error"});
  if (draining) throw new ApiError(503, "The server is shutting down.", {type: "server_error"});
  res.on("close", () => { if (!res.writableFinished) engine.abandon(job); });
  const out = writer(res, body, chat);
  let sent = 0;
  try {
    for await (const _ of engine.run(job, how)) {
      if (!out.stream) continue;
      if (!res.headersSent) out.begin();
      const end = sendable(job.text, how.stops, job.reason !== null);
      if (end > sent) out.piece(job.text.slice(sent, end));
      sent = Math.max(sent, end);
      if (res.writableNeedDrain) await new Promise((r) => { res.once("drain", r); res.once("close", r); });
    }
  } catch (problem) {
    if (problem instanceof EngineFull)
      throw new ApiError(503, problem.message,
                         {type: "server_error", code: "engine_overloaded", headers: {"Retry-After": "1"}});
    if (!res.headersSent) throw problem;
    return out.broken(problem);
  }
  if (job.gone || job.reason === null) return;
  if (out.stream && !res.headersSent) out.begin();
  out.end(job, {
    prompt_tokens: job.tokens.length, completion_tokens: job.generated,
    total_tokens: job.tokens.length + job.generated, prompt_tokens_details: {cached_tokens: job.cached},
  });
}

async function setFault(req, res) {
  const {kind} = await readJson(req);
  if (!FAULTS.includes(kind))
    throw new ApiError(400, `Unknown fault '${kind}': expected one of ${FAULTS.join(", ")}.`, {param: "kind"});
  engine.fault = kind;
  console.error(`fault: ${kind}`);
  send(res, 200, {fault: kind});
  if (kind === "refuse") {           // from here on only a restart brings the listening socket back
    server.close();
    server.closeIdleConnections();
  }
}

const models = () => ({object: "list", data: [{
  id: engine.name, object: "model", created: started, owned_by: vllm ? "vllm" : "llamacpp",
  max_model_len: engine.options.contextTokens,
}]});
const props = () => ({
  default_generation_settings: {n_ctx: engine.options.contextTokens}, total_slots: engine.options.slots,
  model_path: args.model, build_info: engine.release, endpoint_metrics: true, endpoint_slots: true,
});
const routes = {
  "GET /health": (req, res) => engine.fault === "error" || draining
    ? send(res, 503, {error: {code: 503, message: "unavailable", type: "unavailable_error"}})
    : vllm ? send(res, 200, "") : send(res, 200, {status: "ok"}),
  "GET /metrics": (req, res) => send(res, 200, (vllm ? vllmPage : llamacppPage)(engine)),
  "GET /v1/models": (req, res) => send(res, 200, models()),
  "POST /v1/chat/completions": (req, res) => complete(req, res, true),
  "POST /v1/completions": (req, res) => complete(req, res, false),
  ...(vllm ? {"GET /version": (req, res) => send(res, 200, {version: VLLM_VERSION})}
    : {"GET /props": (req, res) => send(res, 200, props()),
       "GET /slots": (req, res) => send(res, 200, engine.slotStates())}),
  ...(args.faults ? {"POST /fault": setFault} : {}),
};

const server = http.createServer(async (req, res) => {
  const where = `${req.method} ${req.url.split("?")[0]}`;
  res.setHeader("Server", vllm ? "uvicorn" : "llama.cpp");
  try {
    if (!routes[where]) throw new ApiError(404, `Unknown request URL: ${where}.`, {code: "not_found"});
    await routes[where](req, res);
  } catch (e) {
    if (!e.status) console.error(e);
    send(res, e.status ?? 500, {error: {message: e.message, type: e.type ?? "server_error", param: e.param ?? null,
                                        code: e.code ?? null}}, e.headers);
  }
});
server.keepAliveTimeout = 75000;
server.on("error", (e) => {
  console.error(`server.mjs: could not listen on ${HOST}:${args.port ?? 9801}: ${e.message}`);
  process.exit(1);
});
server.listen(+(args.port ?? 9801), HOST, () =>
  console.error(`engine: http://${HOST}:${server.address().port} as ${args.flavour}, model ${engine.name}, ` +
                `${engine.options.slots} slots`));

for (const signal of ["SIGTERM", "SIGINT"]) process.on(signal, () => {
  draining = true;
  server.close();
  const end = Date.now() + DRAIN_MS;
  setInterval(() => { if ((!engine.running() && !engine.waiting()) || Date.now() > end) process.exit(0); }, 50);
});
