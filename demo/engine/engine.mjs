// engine.mjs - a real LLM engine for the demo: llama.cpp with continuous batching, a FIFO queue and a fault switch.
//
// Every slot is one llama.cpp sequence in one shared context; further requests wait. All decoding goes through
// node-llama-cpp's native decodeBatch(), and that one place is wrapped: there the decodes are counted as llama-server
// counts them, the pace is kept, and a fault holds everything up, just as a hung GPU kernel would.
//
//   request -> queue -> slot -> decodeBatch() -> tokens -> end
//                                    ^ fault "stall_decode" waits here, for good; /health and /metrics go on
import path from "node:path";
import {pathToFileURL} from "node:url";
import {Counters} from "./metrics.mjs";

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Faults that POST /fault understands; what they do is below (decode) and in server.mjs (answers).
export const FAULTS = ["none", "stall_decode", "slow_decode", "error", "refuse"];
const SLOW_DECODE_MS = 400;

export class EngineFull extends Error {}

export class Engine {
  counters = new Counters();
  fault = "none";
  #queue = [];
  #slots;

  // options: model (path), name, slots, contextTokens, threads, maxQueue, paceMs (shortest time of one decode: a tiny
  // model on a CPU is faster than a large one on a GPU, so without a pace no queue would ever be seen), and modules:
  // the folder that holds node_modules.
  static async load(options) {
    const entry = path.resolve(options.modules, "node_modules/node-llama-cpp/dist/index.js");
    const {getLlama, LlamaLogLevel} = await import(pathToFileURL(entry));
    const llama = await getLlama({
      gpu: false, build: "never", logLevel: LlamaLogLevel.error, maxThreads: options.threads,
    });
    const engine = new Engine();
    engine.options = options;
    engine.name = options.name;
    engine.release = llama.llamaCppRelease;
    engine.model = await llama.loadModel({modelPath: options.model});
    engine.context = await engine.model.createContext({
      contextSize: options.contextTokens, sequences: options.slots, batchSize: 512, threads: options.threads,
    });
    engine.#slots = Array.from({length: options.slots}, (_, id) =>
      ({id, sequence: engine.context.getSequence(), job: null}));
    engine.#wrapDecode();
    return engine;
  }

  // node-llama-cpp's version is pinned by the lock file; a new one without this inner door must fail loudly here.
  #wrapDecode() {
    const native = this.context._ctx;
    if (typeof native?.decodeBatch !== "function")
      throw new Error("cannot wrap decodeBatch: this version of node-llama-cpp is built differently");
    const decode = native.decodeBatch.bind(native);
    const wrapped = async () => {
      const started = performance.now();
      while (this.fault === "stall_decode") await sleep(50);
      await decode();
      this.counters.decodes++;
      this.counters.busySlots += this.running();
      const least = this.fault === "slow_decode" ? SLOW_DECODE_MS : this.options.paceMs;
      const left = least - (performance.now() - started);
      if (left > 0) await sleep(left);
    };
    Object.defineProperty(native, "decodeBatch", {value: wrapped}); // the inherited one is read-only
  }

  running() { return this.#slots.filter((s) => s.job).length; }
  waiting() { return this.#queue.length; }
  capacity() { return this.options.contextTokens * this.options.slots; }
  // vLLM's meaning: cells of running requests; cached blocks of ended ones count as free.
  kvRatio() {
    return this.#slots.reduce((n, s) => n + (s.job ? s.sequence.nextTokenIndex : 0), 0) / this.capacity();
  }
  slotStates() {
    return this.#slots.map((s) => ({
      id: s.id, n_ctx: this.options.contextTokens, is_processing: !!s.job,
      next_token: [{n_decoded: s.job?.generated ?? 0}],
    }));
  }

  // The free slot whose cache shares the longest prefix with the prompt.
  #pick(tokens) {
    let best = null, most = -1;
    for (const slot of this.#slots) {
      if (slot.job) continue;
      const cached = slot.sequence.contextTokens;
      let n = 0;
      while (n < cached.length && n < tokens.length && cached[n] === tokens[n]) n++;
      if (n > most) [best, most] = [slot, n];
    }
    return best;
  }

  #pump() {
    while (this.#queue.length) {
      const slot = this.#pick(this.#queue[0].tokens);
      if (!slot) return;
      slot.job = this.#queue.shift();
      slot.job.enter(slot);
    }
  }

  // Wait for a slot; null when the client went away while waiting. Throws EngineFull when the queue is.
  #enter(job) {
    if (this.#queue.length >= this.options.maxQueue) throw new EngineFull("The engine queue is full.");
    return new Promise((resolve) => {
      job.enter = resolve;
      this.#queue.push(job);
      this.#pump();
    });
  }

  // The client of `job` is gone: give back its place in the queue, or end its decoding after the next token.
  abandon(job) {
    job.gone = true;
    const i = this.#queue.indexOf(job);
    if (i < 0) return;
    this.#queue.splice(i, 1);
    this.counters.finished.abort++;
    job.enter(null);
  }

  newJob(prompt) {
    return {tokens: [this.model.tokens.bos, ...this.model.tokenize(prompt)], generated: 0, cached: 0, text: "",
            gone: false, arrived: performance.now(), reason: null};
  }

  // Run a job made by newJob(): yields pieces of text as they come; job.reason says how it ended. sampling:
  // {temperature, topP, seed, max, stops, ignoreEos}.
  async *run(job, sampling) {
    const slot = await this.#enter(job);
    if (!slot) return;
    const c = this.counters, entered = performance.now();
    c.queue.add((entered - job.arrived) / 1e3);
    try {
      yield* this.#decode(job, slot.sequence, sampling, entered);
    } catch (problem) {
      job.reason = "error";
      throw problem;
    } finally {
      c.finished[job.reason ?? "abort"]++;
      c.endedPrompt += job.tokens.length - job.cached;
      c.endedCached += job.cached;
      c.endedGenerated += job.generated;
      c.longest = Math.max(c.longest, job.tokens.length + job.generated);
      slot.job = null;
      this.#pump();
    }
  }

  async *#decode(job, sequence, sampling, entered) {
    const c = this.counters;
    await sequence.adaptStateToTokens(job.tokens.slice(0, -1), false); // keep the common prefix, drop the rest
    job.cached = sequence.nextTokenIndex;
    c.promptTokens += job.tokens.length;
    c.cachedTokens += job.cached;
    const {temperature, topP, seed} = sampling;
    const evaluation = sequence.evaluate(job.tokens.slice(job.cached), {
      temperature, topP, topK: 40, ...(seed === undefined ? {} : {seed}), yieldEogToken: true,
    });
    let first = 0, last = 0, undecoded = [], before = job.tokens.slice(-4);
    for await (const token of evaluation) {
      const now = performance.now();
      if (first) {
        c.itl.add((now - last) / 1e3);
        c.generationSeconds += (now - last) / 1e3;
      } else {
        first = now;
        c.ttft.add((now - job.arrived) / 1e3);
        c.prefill.add((now - entered) / 1e3);
        c.promptSeconds += (now - entered) / 1e3;
      }
      last = now;
      if (job.gone) { job.reason = "abort"; break; }
      if (this.model.isEogToken(token) && !sampling.ignoreEos) { job.reason = "stop"; break; }
      job.generated++;
      c.generatedTokens++;
      undecoded.push(token); // half a UTF-8 character waits here for its rest
      const piece = this.model.detokenize(undecoded, false, before);
      if (!piece.endsWith("\ufffd") || undecoded.length >= 4) {
        job.text += job.text ? piece : piece.trimStart();
        before = undecoded.slice(-4);
        undecoded = [];
      }
      const cut = sampling.stops.map((s) => job.text.indexOf(s)).filter((at) => at >= 0);
      if (cut.length) {
        job.text = job.text.slice(0, Math.min(...cut));
        job.reason = "stop";
      } else if (job.generated >= sampling.max) {
        job.reason = "length";
      }
      yield;
      if (job.reason) break;
    }
    job.reason ??= "stop";
    if (job.reason === "abort") return;
    const end = performance.now();
    c.e2e.add((end - job.arrived) / 1e3);
    c.decode.add((end - first) / 1e3);
    c.inference.add((end - entered) / 1e3);
  }
}
